"""Postgres: does it answer, is its schema ours, are its materialised views fresh?"""

from __future__ import annotations

import contextlib

import psycopg

from cli.doctor.check import Finding, failed, ok, warning
from cli.doctor.runbook import Entry
from cli.doctor.servers import ANSWER_SECONDS, Servers
from pipelines.defs.alerts.condition import span
from pipelines.defs.cohorts.change_log import read_checkpoint
from pipelines.defs.cohorts.parity import compare_rows
from pipelines.defs.materialized_views.cadence import read_view_states
from sql import statement
from sql.migrations import ClickHouseMigrations, MigrationError, PostgresMigrations

# xid8 and pg_snapshot are of 13; what is older than 14 gets no fixes any more.
OLDEST_VERSION = 140_000


def postgres_answers(servers: Servers) -> Finding:
    """The platform database, for writing."""
    with servers.postgres() as pg:
        [(version, _, read_only)] = pg.execute(statement("postgres/select_server")).fetchall()
        number = pg.info.server_version
    if read_only:
        return failed(
            "it is a standby or read-only: cohorts can't be changed; let DATABASE_URL name the "
            "primary",
            Entry.POSTGRES_READ_ONLY,
        )
    if number < OLDEST_VERSION:
        return warning(f"PostgreSQL {version} is too old; upgrade it", Entry.POSTGRES_AWAY)
    return ok(f"PostgreSQL {version}")


def postgres_is_migrated(servers: Servers) -> Finding:
    """Every migration of this version, unchanged."""
    with servers.postgres() as pg:
        return _judge(PostgresMigrations(pg))


def clickhouse_is_migrated(servers: Servers) -> Finding:
    """Every migration of this version, unchanged."""
    with servers.clickhouse("default") as ch:
        return _judge(ClickHouseMigrations(ch, servers.settings.clickhouse_database))


def _judge(migrations: PostgresMigrations | ClickHouseMigrations) -> Finding:
    try:
        names = [one.name for one in migrations.pending()]
    except MigrationError as error:
        return failed(str(error), Entry.MIGRATION_REFUSED)
    if names:
        return failed(
            f"not applied: {', '.join(names)}; run `analytics migrate`", Entry.MIGRATIONS_PENDING
        )
    return ok("all applied")


def views_are_fresh(servers: Servers) -> Finding:
    """Age, cadence and last error of each materialised view."""
    with servers.postgres() as pg:
        states = read_view_states(pg)
    if not states:
        return failed("analytics_mvs names no view", Entry.VIEWS_STALE)
    wrong = "; ".join(one.said for one in states if one.said is not None)
    if any(one.error is not None for one in states):
        return failed(wrong, Entry.REFRESH_FAILS)
    if wrong:
        return failed(f"{wrong}; is the daemon running?", Entry.VIEWS_STALE)
    oldest = max(one.age or 0.0 for one in states)
    return ok(f"all {len(states)} refreshed within {span(oldest)}")


def filters_are_valid(servers: Servers) -> Finding:
    """Cohorts whose filters can't be evaluated have no members by them."""
    with servers.postgres() as pg:
        rows = pg.execute(statement("postgres/select_cohort_filter_errors")).fetchall()
    if not rows:
        return ok("the filters of every cohort can be evaluated")
    _, company, name, error = rows[0]
    more = f", and {len(rows) - 1} more" if len(rows) > 1 else ""
    return warning(f"{name!r} of {company}: {error}{more}", Entry.COHORT_EMPTY)


def changes_are_taken(servers: Servers) -> Finding:
    """The change log of cohorts, members and users: what its readers have yet to take."""
    with servers.postgres() as pg:
        rows = pg.execute(statement("postgres/count_pending_changes")).fetchall()
    waiting = {reader: (changes, age) for reader, known, changes, age in rows if known}
    foreign = [reader for reader, known, _, _ in rows if not known]
    expected = {"membership"} | ({"clickhouse"} if servers.settings.clickhouse_enabled else set())
    # Both are written by the first sync; without a change there was nothing to sync.
    if foreign or (missing := sorted(expected - waiting.keys())):
        names = ", ".join(foreign or missing)
        return warning(
            f"no watermark of this database for {names}: a full resync is due within a minute",
            Entry.POSTGRES_RESTORED,
        )
    late = {reader: one for reader, one in waiting.items() if one[0]}
    if late:
        texts = [
            f"{changes} changes wait for {reader}, which took its last {span(age)} ago"
            for reader, (changes, age) in late.items()
        ]
        return warning(
            f"{'; '.join(texts)}: usual for a minute, else look at the cohort sensor",
            Entry.COHORT_NOT_SYNCED,
        )
    newest = min(age for _, age in waiting.values())
    return ok(f"none waits; the last was taken {span(newest)} ago")


def both_sides_agree(servers: Servers) -> Finding:
    """Cohorts and memberships, Postgres against ClickHouse, row by row where hashes differ."""

    with contextlib.ExitStack() as stack:
        pg = stack.enter_context(servers.postgres())
        ch = stack.enter_context(servers.clickhouse())
        if read_checkpoint(ch) is None:
            return warning("nothing was synced to ClickHouse yet", Entry.COHORT_NOT_SYNCED)
        try:
            parity = compare_rows(pg, ch)
        except psycopg.errors.LockNotAvailable:
            return warning(
                "a sync is under way; ask again when it is done", Entry.COHORT_NOT_SYNCED
            )
        except psycopg.errors.QueryCanceled:
            return warning(
                f"comparing takes longer than {ANSWER_SECONDS} s; the check rows_match_postgres "
                "in Dagster has the time for it",
                Entry.PARITY,
            )
    if parity.differing:
        one = next(shown for table in parity.tables.values() for shown in table.shown)
        more = f", and {parity.differing - 1} more rows" if parity.differing > 1 else ""
        return failed(
            f"{one} in ClickHouse{more}; start the job repair_cohort_parity", Entry.PARITY
        )
    waiting = sum(table.pending for table in parity.tables.values())
    pending = f", {waiting} rows with changes on their way" if waiting else ""
    return ok(f"all rows of {parity.companies} companies agree{pending}")
