"""Backup and restore by the ClickHouse server, and what a backup or a database holds.

What a backup holds is read from the backup itself: the engine attaches its files as a database
(`ENGINE = Backup`). Rows that are inserted meanwhile are in both or in neither.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from string import Template

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipelines.defs.backups.record import Figures, Partition, Warehouse
from pipelines.progress import SILENT, Progress
from sql import statement

Location = tuple[str, ...]

# Of ninety days of events, few enough at once that it is seen how far a reading is.
PARTITIONS_A_STATEMENT = 8
WATCH_SECONDS = 0.25


def back_up(
    ch: Client,
    database: str,
    location: Location,
    base: Location | None,
    progress: Progress = SILENT,
) -> tuple[int, int]:
    """Back the database up; returns bytes written and files that the backup names."""
    name = "backup_database" if base is None else "backup_database_since"
    words = {
        "database": _name(database),
        "location": _place(location),
        "base": _place(base or location),
    }
    [(whole,)] = ch.query(
        statement("clickhouse/select_database_bytes"), parameters={"database": database}
    ).result_rows
    progress.step("copying ClickHouse", whole, "bytes")
    backup_id = _run_watched(ch, name, words, progress)
    [(size, files)] = ch.query(
        statement("clickhouse/select_backup_size"), parameters={"id": backup_id}
    ).result_rows
    return int(size), int(files)


@contextlib.contextmanager
def attached(ch: Client, database: str, location: Location, scratch: str) -> Iterator[str]:
    """The backup as the database `scratch`, read only; nothing is copied."""
    drop_database(ch, scratch)
    ch.command(
        _statement(
            "attach_backup",
            scratch=_name(scratch),
            database_name=_text(database),
            location=_place(location),
        )
    )
    try:
        yield scratch
    finally:
        drop_database(ch, scratch)


def read_warehouse(
    ch: Client, database: str, known: Warehouse | None = None, progress: Progress = SILENT
) -> Warehouse:
    """What the tables of a database hold, partition by partition.

    A partition that is `known` and still consists of the same files keeps its figures: of ninety
    days of events an incremental backup reads the last one or two.
    """
    found: dict[str, dict[str, Partition]] = {name: {} for name in tables(ch, database)}
    parts: dict[str, dict[str, tuple[str, int]]] = {}
    rows = ch.query(
        statement("clickhouse/select_partition_parts"), parameters={"database": database}
    ).result_rows
    for table, partition, digest, size in rows:
        parts.setdefault(table, {})[partition] = (digest, size)
    changed = {
        table: [
            name
            for name, (digest, _) in parts.get(table, {}).items()
            if name not in (before := (known or {}).get(table, {})) or before[name].digest != digest
        ]
        for table in found
    }
    progress.step("reading what it holds", sum(map(len, changed.values())), "partitions")
    for table, partitions in found.items():
        before = (known or {}).get(table, {})
        figures = read_figures(ch, database, table, changed[table], progress)
        for name, (digest, size) in parts.get(table, {}).items():
            if name not in changed[table]:
                partitions[name] = Partition(before[name].figures, digest, size)
            elif name in figures:  # one whose rows are all deleted has none
                partitions[name] = Partition(figures[name], digest, size)
    return found


def read_figures(
    ch: Client,
    database: str,
    table: str,
    partitions: Sequence[str],
    progress: Progress = SILENT,
) -> Mapping[str, Figures]:
    """Rows and fingerprints of these partitions, some at a time."""
    figures = {}
    for begin in range(0, len(partitions), PARTITIONS_A_STATEMENT):
        some = list(partitions[begin : begin + PARTITIONS_A_STATEMENT])
        rows = ch.query(
            statement("clickhouse/select_partition_figures"),
            parameters={"database": database, "table": table, "partitions": some},
        ).result_rows
        figures.update({name: Figures(count, total) for name, count, total in rows})
        progress.advance(len(some))
    return figures


def restore_database(
    ch: Client, database: str, location: Location, scratch: str, progress: Progress = SILENT
) -> None:
    """Restore all tables as the database `scratch`, with merges stopped."""
    words = {"database": _name(database), "scratch": _name(scratch), "location": _place(location)}
    ch.command(_statement("restore_structure", **words))
    for table in tables(ch, scratch):
        stop_merges(ch, scratch, table)
    _run_watched(ch, "restore_database", words, progress)


def restore_table(
    ch: Client,
    database: str,
    table: str,
    location: Location,
    scratch: str,
    partitions: Sequence[str] = (),
    progress: Progress = SILENT,
) -> None:
    """Restore one table, or some of its partitions, into the database `scratch`."""
    words = {
        "database": _name(database),
        "table": _name(table),
        "scratch": _name(scratch),
        "location": _place(location),
        "partitions": ", ".join(_text(one) for one in partitions),
    }
    ch.command(statement("clickhouse/create_database"), parameters={"database": scratch})
    ch.command(_statement("restore_table_structure", **words))
    stop_merges(ch, scratch, table)
    _run_watched(ch, "restore_partitions" if partitions else "restore_table", words, progress)


def attach_partition(ch: Client, database: str, table: str, scratch: str, partition: str) -> None:
    """Add a partition of `scratch`'s table to the table of the same name."""
    ch.command(
        _statement(
            "attach_partition",
            database=_name(database),
            table=_name(table),
            scratch=_name(scratch),
            partition=_text(partition),
        )
    )


def damaged_parts(ch: Client, database: str, table: str) -> list[str]:
    """What the engine says of parts whose files don't fit their checksums."""
    answer = ch.raw_query(
        statement("clickhouse/check_table"), parameters={"database": database, "table": table}
    )
    lines = [json.loads(line) for line in answer.splitlines() if line.strip()]
    return [
        f"{table}: part {one['part_path']}: {one['message']}"
        for one in lines
        if not one["is_passed"]
    ]


def tables(ch: Client, database: str) -> list[str]:
    """Tables that hold rows; views hold none."""
    rows = ch.query(
        statement("clickhouse/select_database_tables"), parameters={"database": database}
    ).result_rows
    return [row[0] for row in rows]


def database_exists(ch: Client, database: str) -> bool:
    """Whether the server has it."""
    [(count,)] = ch.query(
        statement("clickhouse/select_database_exists"), parameters={"database": database}
    ).result_rows
    return bool(count)


def drop_database(ch: Client, database: str) -> None:
    """Drop a database of ours; nothing happens when there is none."""
    ch.command(statement("clickhouse/drop_database"), parameters={"database": database})


def stop_merges(ch: Client, database: str, table: str) -> None:
    """Until `start_merges`, or until the table is gone."""
    names = {"database": database, "table": table}
    ch.command(statement("clickhouse/stop_merges"), parameters=names)


def count_mutations_anew(ch: Client, database: str, table: str) -> None:
    """Make later mutations of a restored table go through all of its parts.

    Restored parts keep the number of the last mutation they went through, and the new table counts
    from one: up to that number the engine takes its mutations as done in them, and a DELETE leaves
    their rows. When the table is attached, it counts on from its parts.
    """
    names = {"database": database, "table": table}
    ch.command(statement("clickhouse/detach_table"), parameters=names)
    ch.command(statement("clickhouse/attach_table"), parameters=names)


def start_merges(ch: Client, database: str, table: str) -> None:
    """What `stop_merges` stopped."""
    names = {"database": database, "table": table}
    ch.command(statement("clickhouse/start_merges"), parameters=names)


def version(ch: Client) -> str:
    """The engine's version."""
    return str(ch.query(statement("clickhouse/select_version")).result_rows[0][0])


def migrations(ch: Client, database: str) -> tuple[str, ...]:
    """Migrations that a database records, sorted."""
    rows = ch.query(
        statement("clickhouse/select_migrations"), settings={"database": database}
    ).result_rows
    return tuple(sorted(row[0] for row in rows))


def _run_watched(ch: Client, name: str, words: Mapping[str, str], progress: Progress) -> str:
    """Run a BACKUP or RESTORE under an id, which is returned; its bytes are told as they go."""
    run_id = str(uuid.uuid4())
    over = threading.Event()

    def watch() -> None:
        told = 0
        # Whatever is wrong with the server is said by the statement itself.
        with contextlib.suppress(ClickHouseError):
            while not over.wait(WATCH_SECONDS):
                for (handled,) in ch.query(
                    statement("clickhouse/select_backup_progress"), parameters={"id": run_id}
                ).result_rows:
                    progress.advance(handled - told)
                    told = handled

    watcher = threading.Thread(target=watch, daemon=True)
    if progress.watched:
        watcher.start()
    try:
        ch.command(_statement(name, id=_text(run_id), **words))
    finally:
        over.set()
        if progress.watched:
            watcher.join()
    return run_id


# The engine binds no parameters in BACKUP, RESTORE, ENGINE = Backup and ATTACH PARTITION … FROM:
# their files have places instead, which only the functions below may fill.


def _statement(name: str, **words: str) -> str:
    return Template(statement(f"clickhouse/{name}")).substitute(words)


def _name(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _place(location: Location) -> str:
    function, *arguments = location
    return f"{function}({', '.join(_text(one) for one in arguments)})"
