"""The four views: figures, refreshes that fail one by one, log, locks, freshness, cadence."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from config import Settings
from pipelines.databases import Databases
from pipelines.definitions import defs
from pipelines.defs.materialized_views.assets import VIEWS, materialized_views, view_assets
from pipelines.defs.materialized_views.cadence import declared_cadences
from pipelines.defs.materialized_views.refresh import refresh_view

REFRESH_BY_HAND = "SELECT refresh_analytics_materialized_views();"


@pytest.fixture
def figures(pg: psycopg.Connection) -> None:
    pg.execute("""
        INSERT INTO metrics_company_period (company_id, period_start, participants,
            avg_integration_score, avg_social_capital_score, sroi, total_matches, active_matches)
        VALUES ('acme', '2026-01-01', 10, 0.5, 0.2, 3.0, 8, 7),
               ('acme', '2026-02-01', 30, 0.9, NULL, 5.0, 6, 2),
               ('idle', '2026-02-01', 0, 0.9, 0.9, 0.9, 0, 0)""")
    pg.execute("""
        INSERT INTO metrics_program_period (company_id, program_type, period_start, participants,
            avg_match_quality, avg_interaction_frequency, completed_milestones)
        VALUES ('acme', 'buddy', '2026-01-01', 1, 0.4, 2, 5),
               ('acme', 'buddy', '2026-02-01', 3, 0.8, 4, 7),
               ('acme', 'mentorship', '2026-02-01', 2, NULL, 1, 0)""")
    pg.execute("""
        INSERT INTO metrics_language_period (company_id, language_group, period_start, participants,
            avg_integration_score, avg_bridge_connections, avg_cross_language_rate)
        VALUES ('acme', 'uk', '2026-02-01', 4, 0.5, 1, 0.1),
               ('acme', 'uk', '2026-01-01', 4, 0.7, 3, 0.3)""")
    pg.execute("""
        INSERT INTO user_journeys (user_id, company_id, current_stage, stage_entered_at)
        VALUES (gen_random_uuid(), 'acme', 'arrival', now() - interval '2 days'),
               (gen_random_uuid(), 'acme', 'arrival', now() - interval '4 days'),
               (gen_random_uuid(), 'acme', 'settled', now() + interval '4 days')""")


def statuses(pg: psycopg.Connection) -> list[tuple[object, ...]]:
    """View and status of each refresh since the migration's own."""
    return pg.execute(
        "SELECT view, status FROM analytics_mv_refreshes WHERE refresh_id > 4 ORDER BY refresh_id"
    ).fetchall()


@pytest.mark.usefixtures("figures")
def test_people_count_once_and_averages_are_weighted_by_people(pg: psycopg.Connection) -> None:
    pg.execute(REFRESH_BY_HAND)
    dashboard = pg.execute(
        "SELECT company_id, last_period::text, total_participants, overall_integration_score, "
        "overall_social_capital_score, overall_sroi, total_matches, active_matches, "
        "periods_tracked FROM company_dashboard_mv ORDER BY company_id"
    ).fetchall()
    assert dashboard == [
        ("acme", "2026-02-01", 30, pytest.approx(0.8), 0.2, 4.5, 8, 2, 2),
        ("idle", "2026-02-01", 0, None, None, None, 0, 0, 1),
    ]
    programs = pg.execute(
        "SELECT company_id, program_type, last_period::text, total_participants, "
        "avg_match_quality, avg_interaction_frequency, completed_milestones, periods_tracked "
        "FROM program_performance_mv ORDER BY program_type"
    ).fetchall()
    assert programs == [
        ("acme", "buddy", "2026-02-01", 3, pytest.approx(0.7), 3.5, 12, 2),
        ("acme", "mentorship", "2026-02-01", 2, None, 1, 0, 1),
    ]
    languages = pg.execute(
        "SELECT company_id, language_group, last_period::text, total_participants, "
        "avg_integration_score, avg_bridge_connections, avg_cross_language_rate, periods_tracked "
        "FROM language_group_performance_mv"
    ).fetchall()
    assert languages == [
        ("acme", "uk", "2026-02-01", 4, pytest.approx(0.6), 2, pytest.approx(0.2), 2)
    ]
    journeys = pg.execute(
        "SELECT company_id, current_stage, user_count, avg_days_in_stage "
        "FROM journey_stage_distribution_mv ORDER BY current_stage"
    ).fetchall()
    assert journeys == [
        ("acme", "arrival", 2, pytest.approx(3, abs=0.01)),
        ("acme", "settled", 1, 0),
    ]


def test_every_view_has_a_unique_index_and_is_readable_from_the_start(
    pg: psycopg.Connection,
) -> None:
    indexed = pg.execute(
        "SELECT indrelid::regclass::text FROM pg_index JOIN pg_class ON indrelid = pg_class.oid "
        "WHERE indisunique AND relkind = 'm' ORDER BY 1"
    ).fetchall()
    assert [row[0] for row in indexed] == sorted(VIEWS)
    for view in VIEWS:
        assert pg.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)


def test_views_and_sources_are_the_same_in_the_database_and_in_the_pipeline(
    pg: psycopg.Connection,
) -> None:
    listed = pg.execute("SELECT view, source FROM analytics_mvs ORDER BY position").fetchall()
    assert listed == [(view, source) for view, (source, _) in VIEWS.items()]


@pytest.mark.usefixtures("figures")
def test_the_function_says_what_it_did_and_logs_it(pg: psycopg.Connection) -> None:
    lines = [row[0] for row in pg.execute(REFRESH_BY_HAND)]
    assert [line.split(" in ")[0] for line in lines] == [
        "company_dashboard_mv: 2 rows",
        "program_performance_mv: 2 rows",
        "language_group_performance_mv: 1 rows",
        "journey_stage_distribution_mv: 2 rows",
    ]
    logged = pg.execute(
        "SELECT view, status, rows, readers_blocked, error, caller FROM analytics_mv_refreshes "
        "WHERE refresh_id > 4 ORDER BY refresh_id"
    ).fetchall()
    by = "function called by teei"
    assert logged == [
        ("company_dashboard_mv", "ok", 2, False, None, by),
        ("program_performance_mv", "ok", 2, False, None, by),
        ("language_group_performance_mv", "ok", 1, False, None, by),
        ("journey_stage_distribution_mv", "ok", 2, False, None, by),
    ]


@pytest.mark.usefixtures("figures")
def test_one_failing_view_leaves_the_others_refreshed(pg: psycopg.Connection) -> None:
    pg.execute("DROP INDEX program_performance_mv_key")
    lines = [row[0] for row in pg.execute(REFRESH_BY_HAND)]
    assert lines[1].startswith("program_performance_mv: FAILED, cannot refresh materialized view")
    assert statuses(pg) == [
        ("company_dashboard_mv", "ok"),
        ("program_performance_mv", "failed"),
        ("language_group_performance_mv", "ok"),
        ("journey_stage_distribution_mv", "ok"),
    ]
    assert pg.execute("SELECT count(*) FROM program_performance_mv").fetchone() == (0,)
    assert pg.execute("SELECT count(*) FROM language_group_performance_mv").fetchone() == (1,)
    freshness = pg.execute(
        "SELECT matviewname, source_changes, failed_at IS NOT NULL, error IS NOT NULL "
        "FROM analytics_mv_freshness"
    ).fetchall()
    assert freshness == [
        ("company_dashboard_mv", 0, False, False),
        ("program_performance_mv", 3, True, True),
        ("language_group_performance_mv", 0, False, False),
        ("journey_stage_distribution_mv", 0, False, False),
    ]


def test_a_view_that_is_not_populated_is_filled_with_its_readers_shut_out(
    pg: psycopg.Connection,
) -> None:
    pg.execute("REFRESH MATERIALIZED VIEW company_dashboard_mv WITH NO DATA")
    assert refresh_view(pg, "company_dashboard_mv", "test").readers_blocked
    assert not refresh_view(pg, "company_dashboard_mv", "test").readers_blocked


def test_an_unknown_view_is_refused_by_name(pg: psycopg.Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable, match="pg_class"):
        refresh_view(pg, "pg_class", "test")


def test_a_refresh_waits_for_the_views_lock_and_the_other_views_do_not(
    pg: psycopg.Connection, pipeline_pg: psycopg.Connection
) -> None:
    pipeline_pg.execute("SET lock_timeout = '20ms'")
    with pg.transaction():
        pg.execute("SELECT pg_advisory_xact_lock(28022, hashtext('company_dashboard_mv'))")
        blocked = refresh_view(pipeline_pg, "company_dashboard_mv", "pipeline")
        assert blocked.status == "failed"
        assert "lock timeout" in str(blocked.error)
        assert refresh_view(pipeline_pg, "program_performance_mv", "pipeline").status == "ok"
    assert refresh_view(pipeline_pg, "company_dashboard_mv", "pipeline").status == "ok"


def test_freshness_counts_source_rows_that_are_not_in_the_view(
    pg: psycopg.Connection, pipeline_pg: psycopg.Connection
) -> None:
    def source_changes() -> object:
        [(changes,)] = pg.execute(
            "SELECT source_changes FROM analytics_mv_freshness "
            "WHERE matviewname = 'journey_stage_distribution_mv'"
        ).fetchall()
        return changes

    insert = (
        "INSERT INTO user_journeys (user_id, company_id, current_stage) "
        "SELECT gen_random_uuid(), 'acme', 'arrival' FROM generate_series(1, %s)"
    )
    assert source_changes() == 0
    pg.execute(insert, (3,))
    assert source_changes() == 3
    pg.execute("UPDATE user_journeys SET current_stage = 'settled'")
    pg.execute("DELETE FROM user_journeys")
    assert source_changes() == 9
    with pipeline_pg.transaction():
        pipeline_pg.execute(insert, (2,))
        pg.execute(insert, (5,))
        pg.execute(REFRESH_BY_HAND)
        assert source_changes() == 0
    # Committed after the refresh, though begun before it.
    assert source_changes() == 2
    pg.execute(REFRESH_BY_HAND)
    assert source_changes() == 0
    pg.execute("TRUNCATE user_journeys")
    assert source_changes() == 1


def test_the_guides_freshness_query_has_an_equivalent_by_name_only(
    pg: psycopg.Connection,
) -> None:
    rows = pg.execute("""
        SELECT
            schemaname,
            matviewname,
            last_refresh
        FROM analytics_mv_freshness
        WHERE schemaname = 'public'
            AND matviewname LIKE '%_mv'
    """).fetchall()
    assert [row[1] for row in rows] == list(VIEWS)
    assert all(row[2] is not None for row in rows)
    [(rows_counted, duration, age)] = pg.execute(
        "SELECT rows, duration, age FROM analytics_mv_freshness LIMIT 1"
    ).fetchall()
    assert rows_counted == 0
    assert age >= duration


@pytest.mark.usefixtures("figures")
def test_a_run_refreshes_all_four_and_says_how(
    pg: psycopg.Connection, databases: Databases
) -> None:
    result = dg.materialize(materialized_views, resources={"databases": databases})
    rows = {
        event.asset_key.to_user_string(): event.materialization.metadata["rows"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert rows == {
        "company_dashboard_mv": 2,
        "program_performance_mv": 2,
        "language_group_performance_mv": 1,
        "journey_stage_distribution_mv": 2,
    }
    callers = pg.execute(
        "SELECT DISTINCT caller FROM analytics_mv_refreshes WHERE refresh_id > 4"
    ).fetchall()
    assert callers == [(f"dagster run {result.run_id}",)]


@pytest.mark.usefixtures("figures")
def test_in_a_run_too_one_failing_view_leaves_the_others_refreshed(
    pg: psycopg.Connection, databases: Databases
) -> None:
    pg.execute("DROP INDEX program_performance_mv_key")
    result = dg.materialize(
        materialized_views, resources={"databases": databases}, raise_on_error=False
    )
    assert not result.success
    failure = result.failure_data_for_node("program_performance_mv")
    assert failure is not None
    assert failure.user_failure_data is not None
    assert str(failure.user_failure_data.description).startswith(
        "program_performance_mv was not refreshed: cannot refresh"
    )
    assert sorted(statuses(pg)) == [
        ("company_dashboard_mv", "ok"),
        ("journey_stage_distribution_mv", "ok"),
        ("language_group_performance_mv", "ok"),
        ("program_performance_mv", "failed"),
    ]


def test_the_pipeline_and_the_function_at_once_wait_for_each_other_and_both_are_logged(
    pg: psycopg.Connection, databases: Databases
) -> None:
    def by_pipeline() -> bool:
        return dg.materialize(materialized_views, resources={"databases": databases}).success

    def by_function() -> list[str]:
        with databases.postgres() as connection:
            return [
                line
                for _ in range(3)
                for (line,) in connection.execute(
                    "SELECT refresh_due_analytics_materialized_views() UNION ALL "
                    "SELECT refresh_analytics_materialized_views()"
                )
            ]

    with ThreadPoolExecutor(2) as pool:
        run, lines = pool.submit(by_pipeline), pool.submit(by_function)
    assert run.result()
    assert not [line for line in lines.result() if "FAILED" in line]
    counted = pg.execute(
        "SELECT split_part(caller, ' ', 1), view, count(*), bool_and(status = 'ok') "
        "FROM analytics_mv_refreshes WHERE refresh_id > 4 GROUP BY 1, 2"
    ).fetchall()
    assert {(caller, view) for caller, view, _, _ in counted} >= {
        (caller, view) for caller in ("dagster", "function") for view in VIEWS
    }
    assert all(ok for *_, ok in counted)
    assert {count for caller, _, count, _ in counted if caller == "function"} == {3}


def due_at(pg: psycopg.Connection, moment: datetime) -> list[str]:
    return [
        view
        for (view,) in pg.execute(
            "SELECT due_analytics_materialized_views(%s)", (moment,)
        ).fetchall()
    ]


def test_each_view_is_due_by_its_own_cadence_and_hours(pg: psycopg.Connection) -> None:
    pg.execute("UPDATE analytics_mv_refreshes SET started_at = '2026-03-01 20:00+00'")
    pg.execute("UPDATE analytics_mvs SET every_minutes = 120 WHERE view = 'program_performance_mv'")
    pg.execute(
        "UPDATE analytics_mvs SET first_hour = 22, last_hour = 5 "
        "WHERE view = 'language_group_performance_mv'"
    )
    always = ["company_dashboard_mv", "journey_stage_distribution_mv"]

    def at(day: int, hour: int, minute: int) -> datetime:
        return datetime(2026, 3, day, hour, minute, tzinfo=UTC)

    assert due_at(pg, at(1, 20, 3)) == []
    assert due_at(pg, at(1, 20, 5)) == always
    assert due_at(pg, at(1, 21, 59)) == [
        "company_dashboard_mv",
        "program_performance_mv",
        *always[1:],
    ]
    assert due_at(pg, at(1, 22, 0)) == list(VIEWS)
    assert due_at(pg, at(2, 4, 59)) == list(VIEWS)
    assert "language_group_performance_mv" not in due_at(pg, at(2, 5, 0))


def test_each_view_declares_the_freshness_of_its_own_cadence(
    pg: psycopg.Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def declared() -> dict[str, tuple[timedelta, timedelta | None]]:
        policies = {
            key.to_user_string(): asset.specs_by_key[key].freshness_policy
            for asset in view_assets(declared_cadences())
            for key in asset.keys
        }
        assert list(policies) == list(VIEWS)
        return {
            view: (
                policy.fail_window.to_timedelta(),
                policy.warn_window and policy.warn_window.to_timedelta(),
            )
            for view, policy in policies.items()
            if isinstance(policy, TimeWindowFreshnessPolicy)
        }

    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    installed = dict.fromkeys(VIEWS, (16 * minute, 11 * minute))
    # Definitions are loaded where Postgres does not answer, too.
    monkeypatch.setenv("DATABASE_URL", "postgresql://teei@127.0.0.1:1/none")
    assert declared() == installed
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    assert declared() == installed
    pg.execute("UPDATE analytics_mvs SET every_minutes = 1440 WHERE view = 'company_dashboard_mv'")
    pg.execute(
        "UPDATE analytics_mvs SET every_minutes = 60, first_hour = 22, last_hour = 5 "
        "WHERE view = 'program_performance_mv'"
    )
    assert declared() == installed | {
        "company_dashboard_mv": (72 * hour + minute, 48 * hour + minute),
        "program_performance_mv": (20 * hour + minute, 19 * hour + minute),
    }


@pytest.mark.parametrize("hours", [(3, None), (None, 3), (3, 3), (24, 1)])
def test_hours_that_mean_nothing_are_refused(
    pg: psycopg.Connection, hours: tuple[int | None, int | None]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        pg.execute("UPDATE analytics_mvs SET first_hour = %s, last_hour = %s", hours)


def test_the_schedule_asks_for_the_views_that_are_due(
    pg: psycopg.Connection, databases: Databases
) -> None:
    schedule = defs.resolve_schedule_def("refresh_materialized_views_every_five_minutes")

    def asked() -> list[str]:
        with dg.build_schedule_context(
            scheduled_execution_time=datetime.now(UTC),
            repository_def=defs.get_repository_def(),
            resources={"databases": databases},
        ) as context:
            requests = schedule.evaluate_tick(context).run_requests or []
        return [key.to_user_string() for one in requests for key in one.asset_selection or ()]

    pg.execute("SELECT refresh_analytics_materialized_views()")
    assert asked() == []
    pg.execute(
        "UPDATE analytics_mv_refreshes SET started_at = started_at - interval '5 minutes' "
        "WHERE view <> 'company_dashboard_mv'"
    )
    assert asked() == list(VIEWS)[1:]


def test_a_view_shows_its_columns_in_the_ui(databases: Databases) -> None:
    result = dg.materialize(materialized_views, resources={"databases": databases})
    schemas = {
        event.asset_key.to_user_string(): event.materialization.metadata["dagster/column_schema"]
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    columns = [column.name for column in schemas["journey_stage_distribution_mv"].value.columns]
    assert columns == ["company_id", "current_stage", "user_count", "avg_days_in_stage"]
