"""What a restored database holds against what the catalogue says that the backup holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from pipelines.defs.backups import warehouse
from pipelines.defs.backups.record import Figures, Partition, Warehouse
from pipelines.progress import SILENT, Progress

NOTHING = Figures(0, "0")
WORDS = 300


def warehouse_differences(
    ch: Client,
    database: str,
    expected: Warehouse,
    *,
    check_files: bool,
    progress: Progress = SILENT,
) -> list[str]:
    """One line for each difference; empty when the database holds exactly this.

    `check_files` reads every file against its checksum as well, also those that the fingerprints
    don't need (marks, indices).
    """
    found = []
    progress.step("comparing ClickHouse", sum(map(len, expected.values())), "partitions")
    present = set(warehouse.tables(ch, database))
    for table, partitions in expected.items():
        if table not in present:
            found.append(f"{table}: the table is missing")
            continue
        try:
            if check_files:
                found += warehouse.damaged_parts(ch, database, table)
            actual = warehouse.read_figures(ch, database, table, list(partitions), progress)
        except ClickHouseError as error:
            found.append(f"{table}: {short(error)}")
            continue
        found += differences(table, _figures(partitions), actual)
    return found


def differences(
    table: str, expected: Mapping[str, Figures], actual: Mapping[str, Figures]
) -> list[str]:
    """One line for each part that differs; what is named in neither counts as empty."""
    lines = []
    for name in sorted(expected.keys() | actual.keys()):
        wanted, got = expected.get(name, NOTHING), actual.get(name, NOTHING)
        if wanted.rows != got.rows:
            lines.append(f"{table} {name}: {got.rows} rows instead of {wanted.rows}")
        elif wanted.hash != got.hash:
            lines.append(f"{table} {name}: {got.rows} rows with other contents")
    return lines


def short(error: object) -> str:
    """An error on one line, at most some hundred characters, from the server's own words on."""
    text = " ".join(str(error).split())
    return text[max(0, text.find("Code: ")) :][:WORDS]


def named(reasons: Sequence[str], most: int = 5) -> str:
    """The first reasons in one line."""
    more = f" … and {len(reasons) - most} more" if len(reasons) > most else ""
    return "; ".join(reasons[:most]) + more


def _figures(partitions: Mapping[str, Partition]) -> dict[str, Figures]:
    return {name: partition.figures for name, partition in partitions.items()}
