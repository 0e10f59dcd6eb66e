"""How far a backup, a drill and a restore are, as they say it themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from pipelines.defs.backups import warehouse
from pipelines.defs.backups.backup import take_backup
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.record import Kind
from pipelines.defs.backups.restore import restore
from pipelines.progress import Progress
from tests.live.backups.conftest import NOW, World


@dataclass
class Told(Progress):
    """Everything that a work says."""

    steps: int = 0
    said: list[tuple[str, int, str]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    watched = True

    def begin(self, steps: int) -> None:
        assert not self.steps
        self.steps = steps

    def step(self, what: str, total: int = 0, unit: str = "") -> None:
        self.said.append((what, total, unit))
        self.done.append(0)

    def advance(self, amount: int) -> None:
        self.done[-1] += amount


def test_each_work_says_its_steps_and_how_much_of_each_is_done(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "WATCH_SECONDS", 0.002)
    world.ch.command(
        "INSERT INTO events SELECT concat('metrics.x-', toString(number), '-2'), 'metrics.x', 'c',"
        " NULL, now64(3), toDateTime64('2026-10-29', 3, 'UTC') + toIntervalDay(number % 20),"
        " number, randomString(200) FROM numbers(100000)"
    )
    pg, ch, settings = world.pg, world.ch, world.settings
    # A second or two, so that somebody who watches sees it.
    ch.set_client_setting("max_backup_bandwidth", 10_000_000)
    taking, drilling, restoring = Told(), Told(), Told()
    backup = take_backup(pg, ch, settings, Kind.FULL, NOW, taking)
    run_drill(pg, ch, settings, NOW, progress=drilling)
    restore(ch, settings, world.plan(), datetime.now(UTC), restoring)
    held = sum(one.bytes for table in backup.warehouse.values() for one in table.values())
    partitions = sum(map(len, backup.warehouse.values()))
    assert partitions > warehouse.PARTITIONS_A_STATEMENT
    comparing = ("comparing ClickHouse", partitions, "partitions")
    assert taking.said == [
        ("dumping Postgres", 0, ""),
        ("copying ClickHouse", held, "bytes"),
        ("reading what it holds", partitions, "partitions"),
    ]
    assert drilling.said == [
        ("restoring ClickHouse", held, "bytes"),
        comparing,
        ("restoring and comparing Postgres", 0, ""),
    ]
    assert restoring.said == [
        *drilling.said,
        ("putting in place what was restored", 0, ""),
        ("applying the ledger of erasures, writing again what the stream has", 0, ""),
    ]
    works = (taking, drilling, restoring)
    for told in works:
        assert told.steps == len(told.said)
        for (_, total, unit), done in zip(told.said, told.done, strict=True):
            # Bytes are asked of the server while it works: the last of them are not seen, and of a
            # quick step none.
            assert done == total or (unit == "bytes" and 0 <= done < 1.1 * total)
    assert any(told.done[[unit for *_, unit in told.said].index("bytes")] for told in works)
