"""A year of nights: what the schedules ask for is done, and at its end there is what must be there.

The clock is given: every schedule is evaluated for every day of a year that is over, and what it
asks for is done with the tick's own moment. On some Sundays by runs of Dagster, on the other days
by the functions that the runs call, since a run costs more than its work. Out of the weeks named
CLOSE only Sunday's backup is taken, and every fourth one drilled, and no company has days of its
own; pruning, retention, sync, refresh and the search for what was erased are of every night. Ticks
by minutes and hours are evaluated once a day. The reconciliation and the alerts are not here: they
compare with the stream's own clock. One page, since it is one story.
"""

from __future__ import annotations

import contextlib
import inspect
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.schedule_definition import DecoratedScheduleFunction
from dagster._utils.schedules import schedule_execution_time_iterator
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from cli.__main__ import app
from config import Settings
from embedded.child import start_together
from events import rows
from events.accept import Event, accept
from pipelines.databases import Databases
from pipelines.defs.backups import catalogue, warehouse
from pipelines.defs.backups import definitions as backups
from pipelines.defs.backups.backup import prune, take_backup
from pipelines.defs.backups.chains import chain
from pipelines.defs.backups.drill import run_drill
from pipelines.defs.backups.record import Kind
from pipelines.defs.cohorts import definitions as cohorts
from pipelines.defs.cohorts.membership import evaluate_memberships
from pipelines.defs.cohorts.sync import sync_cohorts
from pipelines.defs.cohorts.triggers import UNFINISHED
from pipelines.defs.instance import definitions as instance_flow
from pipelines.defs.instance.run_history import delete_runs, find_old_runs
from pipelines.defs.materialized_views import definitions as materialized_views
from pipelines.defs.materialized_views.assets import VIEWS
from pipelines.defs.materialized_views.refresh import refresh_view
from pipelines.defs.partitions import definitions as partitions
from pipelines.defs.partitions.events_day import read_events_day
from pipelines.defs.retention import definitions as retention
from pipelines.defs.retention import ledger
from pipelines.defs.retention.apply import apply_retention
from pipelines.defs.retention.erasure import erase, verify_erasures
from pipelines.defs.retention.plan import plan_retention
from pipelines.defs.retention.policies import follow_settings
from pipelines.defs.retention.subject import Subject
from pipelines.event_stream import EventStreams
from sql.migrations import ClickHouseMigrations
from tests.live.conftest import Backend, NatsProcess, running_backend
from tests.live.pipelines.population import platform_state, set_company_policy, warehouse_state
from tests.live.pipelines.year import (
    AGGREGATES_DAYS,
    BACKUP_DAYS,
    BEGIN,
    COMPANIES,
    DAY,
    END,
    EVENTS_DAYS,
    OWN_DAYS,
    SPACE,
    Sent,
    Year,
    every_day,
    is_sunday,
    moment,
)

ERASED_ON = date(2026, 3, 18)
LOST_ON, LOST_DAY = date(2026, 4, 9), date(2026, 3, 30)
DISASTER_ON = date(2026, 6, 10)
# The pruning at the end is of weeks in which every night's backup was taken.
CLOSE = [
    (BEGIN, BEGIN + 9 * DAY),
    (DISASTER_ON - 5 * DAY, DISASTER_ON + 6 * DAY),
    (END - (BACKUP_DAYS + 8) * DAY, END),
]
BY_RUNS = {date(2025, 11, 9), date(2026, 6, 14), date(2026, 10, 25)}
# Ticks of every few minutes are looked at once, when the day's events are there.
ONCE_AFTER = (1, 30)
FLOWS = (backups, cohorts, instance_flow, materialized_views, partitions, retention)


@pytest.fixture
def backend() -> Iterator[Backend]:
    """Of its own, since it loses its disks."""
    with running_backend() as backend:
        yield backend


@pytest.fixture
def nats_url(nats_server: NatsProcess) -> str:
    """The ledger of erasures has its copy there."""
    return nats_server.url


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "retention_events_days": EVENTS_DAYS,
            "retention_aggregates_days": AGGREGATES_DAYS,
            "backup_keep_days": BACKUP_DAYS,
        }
    )


class Operation:
    """The system, its clock, and the model that is kept beside it."""

    def __init__(self, settings: Settings, backend: Backend, instance: dg.DagsterInstance) -> None:
        self.settings, self.backend, self.instance = settings, backend, instance
        self.clock = moment(BEGIN, 0)
        self.year = Year()
        self.databases = Databases(lambda: settings, lambda: self.clock)
        self.streams = EventStreams(lambda: settings)
        self.resources: dict[str, Any] = {
            "databases": self.databases,
            "event_streams": self.streams,
            "read_settings": lambda: settings,
        }
        self.definitions = dg.Definitions.merge(
            *(one.flow for one in FLOWS),
            dg.Definitions(resources=self.resources, executor=dg.in_process_executor),
        )
        self.repository = self.definitions.get_repository_def()
        self.actions: dict[str, Callable[[dg.RunRequest], None]] = {
            "sync_cohorts": self.sync,
            "refresh_materialized_views": self.refresh,
            "take_stock_of_events": self.take_stock,
            "back_up_incremental": lambda _: self.back_up("back_up_incremental"),
            "back_up_full": lambda _: self.back_up("back_up_full"),
            "drill_restore": self.drill,
            "retention": self.retain,
            "erasure": self.verify,
            "purge_old_runs": self.purge,
        }
        self.connect()

    def connect(self) -> None:
        self.stack = contextlib.ExitStack()
        self.pg = self.stack.enter_context(self.databases.postgres())
        self.ch = self.stack.enter_context(self.databases.clickhouse())

    # What the schedules ask for.

    def ticks(self, day: date) -> list[tuple[datetime, dg.ScheduleDefinition]]:
        """The day's ticks in order, as the daemon computes them."""
        begin = moment(day, 0).timestamp()
        found = []
        for schedule in self.repository.schedule_defs:
            zone = schedule.execution_timezone or "UTC"
            for at in schedule_execution_time_iterator(begin, schedule.cron_schedule, zone):
                if at >= moment(day + DAY, 0):
                    break
                often = schedule.cron_schedule.split()[1] == "*"
                if not often or at >= moment(day, *ONCE_AFTER):
                    found.append((at.astimezone(UTC), schedule))
                    break
        return sorted(found, key=lambda one: one[0])

    def night(self, day: date) -> None:
        # Postgres has a clock of its own, in which no day has passed since the last refresh.
        self.pg.execute(
            "UPDATE analytics_mv_refreshes SET started_at = started_at - interval '1 day'"
        )
        for at, schedule in self.ticks(day):
            self.clock = at
            requests = self.ask(schedule, at, whole=day in BY_RUNS)
            assert requests, f"{schedule.name} asked for nothing at {at}"
            for request in requests:
                name = request.job_name or schedule.job_name
                if day in BY_RUNS:
                    self.run(name, request.run_config or None, request.partition_key)
                    self.note(name)
                else:
                    self.actions[name](request)

    def ask(
        self, schedule: dg.ScheduleDefinition, at: datetime, *, whole: bool
    ) -> Sequence[dg.RunRequest]:
        """What the schedule asks for; `whole` with Dagster's own handling of its resources around
        its function, which costs 50 ms a tick.
        """
        function = schedule._execution_fn
        if whole or not isinstance(function, DecoratedScheduleFunction):
            with dg.build_schedule_context(
                scheduled_execution_time=at,
                repository_def=self.repository,
                resources=self.resources,
                instance=self.instance,
            ) as context:
                return schedule.evaluate_tick(context).run_requests or []
        known = {
            **self.resources,
            "context": dg.build_schedule_context(scheduled_execution_time=at),
        }
        names = inspect.signature(function.decorated_fn).parameters
        answer = function.decorated_fn(**{name: known[name] for name in names})
        answers = list(answer) if isinstance(answer, Iterator) else [answer]
        return [one for one in answers if isinstance(one, dg.RunRequest)]

    def run(
        self, job: str, run_config: Any = None, partition: str | None = None
    ) -> dg.ExecuteInProcessResult:
        result = self.definitions.resolve_job_def(job).execute_in_process(
            run_config=run_config, partition_key=partition, instance=self.instance
        )
        assert all(one.passed for one in result.get_asset_check_evaluations()), job
        return result

    def note(self, job: str) -> None:
        """What the model learns of a run."""
        if job.startswith("back_up"):
            self.year.back_up(self.clock, job == "back_up_full")
            self.year.prune(self.clock)
        elif job == "drill_restore":
            self.year.proven = self.year.taken[-1][0]

    def is_close(self) -> bool:
        return any(begin <= self.clock.date() <= end for begin, end in CLOSE)

    def back_up(self, job: str) -> None:
        config: Any = self.definitions.resolve_job_def(job).run_config
        kind = Kind(config["ops"]["backups"]["config"]["kind"])
        if self.is_close() or kind is Kind.FULL:
            take_backup(self.pg, self.ch, self.settings, kind, self.clock)
            self.year.back_up(self.clock, kind is Kind.FULL)
        prune(self.pg, self.ch, self.settings, self.clock)
        self.year.prune(self.clock)

    def drill(self, _: dg.RunRequest) -> None:
        if self.is_close() or self.clock.isocalendar().week % 4 == 0:
            drilled = run_drill(self.pg, self.ch, self.settings, self.clock)
            assert drilled.drill is not None
            assert drilled.drill.reasons == ()
            self.year.proven = drilled.started_at

    def retain(self, request: dg.RunRequest) -> None:
        assert request.run_config["ops"]["partition_actions"]["config"] == {"dry_run": False}
        follow_settings(self.pg, self.settings)
        plan = plan_retention(self.pg, self.ch, self.clock)
        done = apply_retention(self.pg, self.ch, plan, self.clock)
        assert {one.outcome for one in done} <= {"done"}
        if is_sunday(self.clock.date()):
            assert not plan_retention(self.pg, self.ch, self.clock).figures["rows"]

    def verify(self, request: dg.RunRequest) -> None:
        days = request.run_config["ops"]["erasures"]["config"]["look_back_days"]
        since = self.clock - timedelta(days=days)
        entries = [one for one in ledger.read(self.pg) if one.erased_at >= since]
        assert verify_erasures(self.pg, self.ch, None, entries) == {}

    def sync(self, _: dg.RunRequest) -> None:
        evaluate_memberships(self.pg)
        sync_cohorts(self.pg, self.ch)

    def refresh(self, request: dg.RunRequest) -> None:
        assert [one.path[-1] for one in request.asset_selection or ()] == list(VIEWS)
        for view in VIEWS:
            assert refresh_view(self.pg, view, "the simulated night").error is None

    def take_stock(self, request: dg.RunRequest) -> None:
        day = date.fromisoformat(request.partition_key or "")
        expected = sum(one.day == day for one in self.year.events)
        assert read_events_day(self.ch, day).events == expected

    def purge(self, _: dg.RunRequest) -> None:
        delete_runs(self.instance, find_old_runs(self.instance, self.clock, 14 * DAY, 120 * DAY))

    # What the world does.

    def store(self, sent: list[Sent], database: str | None = None) -> None:
        """As the sink writes it."""
        made = []
        for one in sent:
            event = accept("metrics.calculated", one.seq, one.ms, one.payload.encode())
            assert isinstance(event, Event)
            assert str(event.id) == one.event_id
            made.append(event)
        for table, block in (
            ("events", rows.encode_events(made)),
            ("metrics_timeseries", rows.encode_metrics(made)),
        ):
            name = f"{database}.{table}" if database else table
            self.ch.raw_insert(
                name, insert_block=block, fmt="JSONEachRow", settings=rows.INSERT_SETTINGS
            )

    def set_own_days(self, day: date) -> None:
        """Companies have days of their own from the first to the last day of the CLOSE weeks."""
        for begin, end in CLOSE:
            if day == begin:
                self.year.own_days = OWN_DAYS
                for company, days in OWN_DAYS.items():
                    set_company_policy(self.pg, "events", company, days)
            elif day == end + DAY:
                self.year.own_days = {}
                self.pg.execute("DELETE FROM retention_policies WHERE company_id IS NOT NULL")

    def join(self, day: date) -> None:
        at = moment(day, 0)
        for user, company in self.year.join(day):
            self.pg.execute(
                "INSERT INTO users (id, company_id, language, joined_at, created_at, updated_at)"
                " VALUES (%s, %s, 'uk', %s, %s, %s)",
                (user, company, at, at, at),
            )
            self.pg.execute(
                "INSERT INTO user_journeys VALUES (%s, %s, 'mentoring', %s, %s)",
                (user, company, at, at),
            )

    def erase(self, user: UUID) -> None:
        company = self.year.users[user]
        with self.streams.open() as stream:
            erased = erase(
                *(self.pg, self.ch, stream, Subject(company, str(user)), self.clock),
                requested_by="the year",
            )
        assert erased.verified
        assert erased.counts["postgres.users"] == 1
        assert erased.counts["clickhouse.events"] > 0
        self.year.forget(user)

    def lose_everything_and_restore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = self.settings.clickhouse_database
        self.stack.close()
        lose_the_disks(self.backend)
        self.backend.postgres.create_databases([name])
        for variable, value in {
            "DATABASE_URL": self.settings.database_url.get_secret_value(),
            "NATS_URL": self.settings.nats_url.get_secret_value(),
            "CLICKHOUSE_HOST": self.settings.clickhouse_host,
            "CLICKHOUSE_PORT": str(self.settings.clickhouse_port),
            "CLICKHOUSE_DATABASE": name,
        }.items():
            monkeypatch.setenv(variable, value)
        done = CliRunner().invoke(app, ["restore", "--yes"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert "note:" not in done.output
        self.connect()

    # What must be there.

    def events_by_day(self) -> dict[tuple[str, date], int]:
        found = self.ch.query(
            "SELECT company_id, toDate(received_at), count() FROM events FINAL GROUP BY ALL"
        ).result_rows
        return {(company, day): count for company, day, count in found}

    def backups_there(self) -> set[str]:
        folder = self.backend.folder / "backups"
        own = catalogue.read(self.pg)
        known = {one.backup_id for one in own if one.database == self.settings.clickhouse_database}
        return {path.name for path in folder.iterdir() if path.name in known}

    def compare(self, day: date) -> None:
        assert self.events_by_day() == self.year.events_by_day(), day
        there = {name[:20] for name in self.backups_there()}
        assert there == {f"{at:%Y-%m-%dT%H-%M-%SZ}" for at in self.year.moments}, day


@pytest.fixture
def operation(settings: Settings, backend: Backend) -> Iterator[Operation]:
    with dg.DagsterInstance.ephemeral() as instance:
        one = Operation(settings, backend, instance)
        yield one
        one.stack.close()


@pytest.mark.timeout(600)
def test_a_year_of_nights_ends_with_exactly_what_must_be_there(
    operation: Operation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, year = operation, operation.year
    children = {child.pid for child in psutil.Process().children()}
    # Others have theirs in the usual place.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    begin_year(one)
    middle, late = (uuid_of("alpha", BEGIN), uuid_of("long", date(2026, 2, 1)))
    for day in every_day():
        if day.day == 1:
            one.join(day)
        one.set_own_days(day)
        one.store(year.send(day))
        one.night(day)
        year.retire(day)
        one.clock = moment(day, 10)
        if day == ERASED_ON:
            one.erase(middle)
        if day == LOST_ON:
            lose_a_day_and_restore_it(one)
        if day == DISASTER_ON:
            # After the last backup: it is in the ledger's copy alone, and so is what it was about.
            one.erase(late)
            one.pg.execute("DELETE FROM users WHERE company_id = 'delta'")
            one.lose_everything_and_restore(monkeypatch)
        # A restore brings back what the night before took out; it goes in the next one.
        if is_sunday(day) or day in {ERASED_ON, LOST_ON + DAY, DISASTER_ON + DAY, END}:
            one.compare(day)
    compare_fingerprints(one)
    compare_platform(one)
    assert {middle, late}.isdisjoint(year.users)
    assert [entry.subject.user_id for entry in ledger.read(one.pg)] == [str(middle), str(late)]
    with one.streams.open() as stream:
        assert verify_erasures(one.pg, one.ch, stream) == {}

    known = [entry for entry in catalogue.read(one.pg) if entry.complete]
    assert {entry.started_at for entry in known} == set(year.moments)
    assert all(chain(known, entry.backup_id) for entry in known)
    [*_, last] = sorted(
        (entry for entry in known if entry.drill), key=lambda entry: entry.started_at
    )
    assert last.started_at == moment(date(2026, 10, 25), 2)
    assert last.proven_at == moment(date(2026, 10, 25), 5)

    assert one.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)) == []
    ended = find_old_runs(one.instance, datetime.now(UTC) + 200 * DAY, 14 * DAY, 120 * DAY)
    # No increment on Sundays, and one restore of a lost day.
    assert delete_runs(one.instance, ended) == len(BY_RUNS) * (len(one.actions) - 1) + 1
    assert one.instance.get_runs() == []
    nothing_is_left_behind(one)
    servers = {one.backend.postgres_process.pid, one.backend.clickhouse_process.pid}
    assert {child.pid for child in psutil.Process().children()} <= children | servers
    assert list(tmp_path.glob("analytics-*")) == []


def uuid_of(company: str, joined: date) -> UUID:
    return uuid5(SPACE, f"{company} {joined}")


def lose_the_disks(backend: Backend) -> None:
    """The servers die, their data with them; empty ones come in their place. The backups stay."""
    processes = (backend.postgres_process, backend.clickhouse_process)
    for process in processes:
        process.signal(signal.SIGKILL)
        process.stop()
    for data in ("postgres", "clickhouse"):
        shutil.rmtree(backend.folder / data)
    start_together(processes)


def begin_year(one: Operation) -> None:
    """Companies and their cohorts."""
    at = moment(BEGIN, 0)
    for company in COMPANIES:
        one.pg.execute(
            "INSERT INTO companies (id, name, created_at, updated_at) VALUES (%s, %s, %s, %s)",
            (company, company, at, at),
        )
        one.pg.execute(
            "INSERT INTO cohorts (company_id, name, filters, created_at, updated_at)"
            " VALUES (%s, 'all', %s, %s, %s)",
            (company, Jsonb({"language": "uk"}), at, at),
        )


def lose_a_day_and_restore_it(one: Operation) -> None:
    """By the job, as an operator would."""
    one.ch.command(f"ALTER TABLE events DROP PARTITION ID '{LOST_DAY:%Y%m%d}'")
    assert one.events_by_day() != one.year.events_by_day()
    config = {"ops": {"restored_events": {"config": {"dry_run": False}}}}
    assert one.run("restore_events", config, LOST_DAY.isoformat()).success


def compare_fingerprints(one: Operation) -> None:
    """The engine's fingerprints of what is there and of the model's rows, table by table."""
    name = one.settings.clickhouse_database
    other = f"{name}_model"
    try:
        ClickHouseMigrations(one.ch, other).apply()
        one.store(one.year.events, other)
        one.ch.command(f"TRUNCATE TABLE {other}.metrics_timeseries")
        for table, rows_of in (
            ("events", one.year.events),
            ("metrics_timeseries", one.year.metrics),
        ):
            one.ch.command(f"TRUNCATE TABLE {other}.{table}")
            one.store(rows_of, other)
            ids = "SELECT DISTINCT _partition_id FROM "
            expected, found = (
                warehouse.read_figures(
                    one.ch,
                    database,
                    table,
                    [row[0] for row in one.ch.query(f"{ids}{database}.{table}").result_rows],
                )
                for database in (other, name)
            )
            assert found == expected, table
            assert sum(figures.rows for figures in found.values()) == len(rows_of)
    finally:
        warehouse.drop_database(one.ch, other)


def compare_platform(one: Operation) -> None:
    one.sync(dg.RunRequest())
    users = one.pg.execute("SELECT id, company_id FROM users").fetchall()
    assert dict(users) == one.year.users
    assert warehouse_state(one.ch) == platform_state(one.pg)
    members = {(UUID(str(row[0])), row[2]) for row in warehouse_state(one.ch).members}
    assert members == set(one.year.users.items())
    journeys = one.pg.execute(
        "SELECT company_id, user_count FROM journey_stage_distribution_mv"
    ).fetchall()
    theirs = list(one.year.users.values())
    assert dict(journeys) == {company: theirs.count(company) for company in COMPANIES}


def nothing_is_left_behind(one: Operation) -> None:
    """No scratch database, lock, statement or mutation."""
    name = one.settings.clickhouse_database
    there = one.ch.query(
        "SELECT name FROM system.databases WHERE name LIKE {like:String}",
        parameters={"like": f"{name}%"},
    ).result_rows
    assert there == [(name,)]
    running = one.ch.query(
        "SELECT count() FROM system.mutations WHERE database = {name:String} AND NOT is_done",
        parameters={"name": name},
    ).result_rows
    assert running == [(0,)]
    with one.backend.connect() as maintenance:
        databases = maintenance.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{name}%",)
        ).fetchall()
        locks = maintenance.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database"
            " WHERE locktype = 'advisory' AND datname = %s",
            (name,),
        ).fetchone()
    assert databases == [(name,)]
    assert locks == (0,)
