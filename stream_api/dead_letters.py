"""Messages that can't be accepted: put aside with their reason and their bytes, never dropped.

The stream `ANALYTICS_DLQ` keeps them, the table `dead_letters` mirrors them for queries. Both are
written before the original message is acknowledged, and both are idempotent by its place in the
stream: the server drops a repeated `Nats-Msg-Id`, the table replaces by sequence.
"""

from __future__ import annotations

from collections.abc import Sequence

from nats.js import JetStreamContext

from config.names import TABLE_DEAD_LETTERS
from events.dead_letters import publish_dead_letter
from events.rows import DeadLetter, encode_dead_letters
from stream_api.warehouse import Warehouse


async def put_aside(
    js: JetStreamContext, warehouse: Warehouse, letters: Sequence[DeadLetter]
) -> None:
    """Write the letters to the stream, then to the table; returns when both have them.

    Raises:
        WarehouseAwayError, nats.errors.Error, TimeoutError: try again later.
    """
    sequences = [await publish_dead_letter(js, letter) for letter in letters]
    await warehouse.insert_json_rows(TABLE_DEAD_LETTERS, encode_dead_letters(letters, sequences))
