"""A platform and a warehouse with something in them; tests move their own clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from clickhouse_connect.driver.client import Client

from config import Settings
from pipelines.databases import Databases
from pipelines.defs.backups.backup import prune, take_backup
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.record import Backup, Kind
from pipelines.defs.backups.restore import Restored, restore
from pipelines.defs.backups.restore_plan import RestorePlan, make_plan
from tests.live.conftest import Backend

NOW = datetime(2026, 11, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def nats_url() -> str:
    """Nothing here talks to NATS."""
    return "nats://127.0.0.1:1"


@dataclass
class World:
    """A system and its calls; each call has its moment."""

    settings: Settings
    pg: psycopg.Connection
    ch: Client
    folder: Path

    def take(self, kind: Kind = Kind.INCREMENTAL, at: datetime = NOW) -> Backup:
        return take_backup(self.pg, self.ch, self.settings, kind, at)

    def drill(self, at: datetime = NOW) -> Backup:
        return run_drill(self.pg, self.ch, self.settings, at)

    def prune(self, at: datetime) -> list[str]:
        return [one.backup_id for one in prune(self.pg, self.ch, self.settings, at)]

    def plan(self, **wanted: object) -> RestorePlan:
        return make_plan(self.pg, self.ch, self.settings, **wanted)  # type: ignore[arg-type]

    def restore(self, at: datetime = NOW, **wanted: object) -> Restored:
        done = restore(self.ch, self.settings, self.plan(**wanted), at)
        # The sessions of a database that was exchanged are over.
        self.pg = psycopg.connect(self.settings.database_url.get_secret_value(), autocommit=True)
        return done

    def events(self, database: str | None = None) -> dict[str, int]:
        """Day → events, each once."""
        rows = self.ch.query(
            f"SELECT toString(toDate(received_at)), count() FROM "
            f"{database or self.settings.clickhouse_database}.events FINAL GROUP BY 1 ORDER BY 1"
        ).result_rows
        return {str(day): int(count) for day, count in rows}

    def companies_of_events(self, database: str | None = None) -> set[str]:
        rows = self.ch.query(
            "SELECT DISTINCT company_id FROM "
            f"{database or self.settings.clickhouse_database}.events FINAL"
        ).result_rows
        return {str(row[0]) for row in rows}

    def publish(self, day: date, sequences: range) -> None:
        """Store events of a day; the payloads are long enough to be worth damaging."""
        self.ch.command(
            "INSERT INTO events SELECT concat('metrics.calculated-', toString(number), '-1'), "
            "'metrics.calculated', concat('company-', toString(number % 3)), "
            "if(number % 2, NULL, 'u'), now64(3), toDateTime64({day:Date}, 3, 'UTC') "
            "+ toIntervalSecond(number % 1000), number, hex(sipHash128(number)) "
            "FROM numbers({first:UInt64}, {count:UInt64})",
            parameters={"day": day, "first": sequences.start, "count": len(sequences)},
        )

    def users(self, *names: str) -> None:
        for name in names:
            self.pg.execute(
                "INSERT INTO companies (id, name) VALUES (%s, %s)", (f"company-{name}", name)
            )

    def companies(self) -> set[str]:
        return {row[0] for row in self.pg.execute("SELECT name FROM companies").fetchall()}

    def files(self, backup: Backup, pattern: str) -> list[Path]:
        """Files of a backup, the largest first."""
        found = (self.folder / backup.backup_id).rglob(pattern)
        return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


@pytest.fixture
def world(settings: Settings, backend: Backend) -> Iterator[World]:
    """Two days of events and two companies."""
    databases = Databases(lambda: settings)
    with databases.postgres() as pg, databases.clickhouse() as ch:
        one = World(settings, pg, ch, backend.folder / "backups")
        one.publish(date(2026, 10, 30), range(0, 3000))
        one.publish(date(2026, 10, 31), range(3000, 5000))
        one.users("one", "two")
        yield one
        one.pg.close()
