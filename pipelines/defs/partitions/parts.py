"""How many parts a partition may have, how large it may be, and when it is merged by hand.

The engine merges a partition to one part when nothing was written to it for an hour; what is left
in many parts after its day is over is what the engine did not come to.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from pipelines.defs.partitions.stock import Partition

# A closed partition with more parts than this is merged by the daily run.
MERGE_ABOVE_PARTS = 8
# More than this in one partition, open or closed, and inserts are near to being slowed down.
MAX_PARTS = 300
# Past this the engine makes no merge of a whole partition (max_bytes_to_merge is 150 GiB).
MAX_MERGE_BYTES = 100 * 1024**3


def is_closed(partition: Partition, today: date) -> bool:
    """True when the partition's last day is over."""
    return partition.end is not None and partition.end <= today


def wants_merge(partition: Partition, today: date) -> bool:
    """True for a closed partition with too many parts that one merge can hold."""
    return (
        is_closed(partition, today)
        and partition.parts > MERGE_ABOVE_PARTS
        and partition.bytes <= MAX_MERGE_BYTES
        and not partition.table.system
    )


def find_crowded(partitions: Iterable[Partition], today: date) -> list[str]:
    """One sentence a partition with too many parts, or too large to be merged."""
    crowded = []
    for one in partitions:
        name = f"{one.table.name} {one.partition_id}"
        if one.parts > MAX_PARTS:
            crowded.append(f"{name}: {one.parts} parts, at most {MAX_PARTS}")
        elif wants_merge(one, today):
            crowded.append(f"{name}: closed with {one.parts} parts, the daily run merges it")
        if one.bytes > MAX_MERGE_BYTES:
            crowded.append(f"{name}: {one.bytes} bytes, too large for one merge")
    return crowded
