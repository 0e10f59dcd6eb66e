"""Rows of ClickHouse that differ from Postgres are named and repaired, these and no others."""

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.databases import Databases
from pipelines.defs.cohorts import comparison, warehouse
from pipelines.defs.cohorts.comparison import TABLES, hash_groups
from pipelines.defs.cohorts.parity import compare_rows, repair_rows
from pipelines.defs.cohorts.rows import MemberRow
from pipelines.defs.cohorts.sync import sync_cohorts
from tests.live.pipelines.population import (
    add_cohort,
    add_members,
    add_users,
    platform_state,
    warehouse_state,
)

COMPANIES = ("acme", "other", "third")


@pytest.fixture
def population(
    pg: psycopg.Connection, pipeline_pg: psycopg.Connection, pipeline_ch: Client
) -> dict[str, tuple[list[UUID], list[UUID]]]:
    """Of each company two cohorts and three users who are in both, synced."""
    made = {}
    for company in COMPANIES:
        users = add_users(pg, company, 3)
        cohorts = [add_cohort(pg, company, name, {"language": name}) for name in ("uk", "de")]
        for cohort in cohorts:
            add_members(pg, cohort, users)
        made[company] = (cohorts, users)
    sync_cohorts(pipeline_pg, pipeline_ch)
    return made


def versions(ch: Client) -> dict[tuple[object, ...], int]:
    """When each row was written: a row that was written again has another one."""
    written = {}
    for table, key in (
        ("cohorts", "company_id, cohort_id, ''"),
        ("user_cohorts", "company_id, cohort_id, user_id"),
    ):
        for *row, version in ch.query(f"SELECT {key}, version FROM {table} FINAL").result_rows:
            written[(table, *row)] = version
    return written


def test_single_damaged_rows_are_named_and_only_they_are_repaired(
    population: dict[str, tuple[list[UUID], list[UUID]]],
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    (first, second), users = population["acme"]
    clean = compare_rows(pipeline_pg, pipeline_ch)
    assert (clean.companies, clean.differing) == (3, 0)
    assert {name: table.rows for name, table in clean.tables.items()} == {
        "cohorts": 6,
        "user_cohorts": 18,
    }
    before = versions(ch)

    bound = {"first": str(first), "second": str(second), "user": str(users[0])}
    for damage in (
        "DELETE FROM user_cohorts WHERE cohort_id = {first:String} AND user_id = {user:String}",
        "INSERT INTO user_cohorts VALUES ('it''s \\\\ by hand', {first:String}, 'acme', now())",
        "INSERT INTO user_cohorts VALUES ({user:String}, {second:String}, 'acme', 7)",
        "INSERT INTO cohorts SELECT cohort_id, company_id, 'other', description, '{}', created_at,"
        " updated_at FROM cohorts FINAL WHERE cohort_id = {second:String}",
        "INSERT INTO cohorts VALUES ('by \"hand\"\\t\\0', 'acme', 'n', '', '{}', now(), now())",
        # A cohort's own id under another company is another row.
        "INSERT INTO user_cohorts VALUES ({user:String}, {first:String}, 'third', now())",
    ):
        ch.command(damage, parameters=bound)
    damaged = versions(ch)

    found = compare_rows(pipeline_pg, pipeline_ch)
    members, cohorts = found.tables["user_cohorts"], found.tables["cohorts"]
    assert sorted(members.shown) == sorted(
        [
            f"acme: user {users[0]} in cohort {first} is missing",
            f"acme: user it's \\ by hand in cohort {first} is extra",
            f"acme: user {users[0]} in cohort {second} differs in joined_at",
            f"third: user {users[0]} in cohort {first} is extra",
        ]
    )
    assert sorted(cohorts.shown) == sorted(
        [
            'acme: cohort by "hand"\t\0 is extra',
            f"acme: cohort {second} differs in name, filters",
        ]
    )
    assert (members.missing, members.extra, members.changed) == (1, 2, 1)
    assert (cohorts.missing, cohorts.extra, cohorts.changed) == (0, 1, 1)
    assert (members.companies, cohorts.companies) == ({"acme", "third"}, {"acme"})
    assert versions(ch) == damaged, "a comparison writes nothing"

    repaired = repair_rows(pipeline_pg, pipeline_ch)

    assert repaired == found
    assert warehouse_state(ch) == platform_state(pg)
    assert compare_rows(pipeline_pg, pipeline_ch).differing == 0
    after = versions(ch)
    assert {key for key in before if after[key] != before[key]} == {
        ("user_cohorts", "acme", str(first), str(users[0])),
        ("user_cohorts", "acme", str(second), str(users[0])),
        ("cohorts", "acme", str(second), ""),
    }


def test_what_no_sync_has_taken_yet_is_neither_named_nor_written(
    population: dict[str, tuple[list[UUID], list[UUID]]],
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    (first, second), users = population["acme"]
    pg.execute("UPDATE cohorts SET name = 'new name' WHERE id = %s", (first,))
    pg.execute("DELETE FROM cohorts WHERE id = %s", (second,))
    pg.execute("UPDATE user_cohorts SET joined_at = now() - interval '1 day'")
    add_members(pg, add_cohort(pg, "acme", "new"), users)
    # Drift of a row beside them, in the same cohort.
    ch.command(
        "INSERT INTO user_cohorts VALUES ('by hand', {cohort:String}, 'acme', now())",
        parameters={"cohort": str(first)},
    )
    before = versions(ch)
    found = repair_rows(pipeline_pg, pipeline_ch)
    assert found.tables["user_cohorts"].shown == [f"acme: user by hand in cohort {first} is extra"]
    assert found.tables["user_cohorts"].pending == 3 + 3 + 3 + 12
    assert (found.tables["cohorts"].differing, found.tables["cohorts"].pending) == (0, 3)
    del before["user_cohorts", "acme", str(first), "by hand"]
    assert versions(ch) == before
    sync_cohorts(pipeline_pg, pipeline_ch)
    assert warehouse_state(ch) == platform_state(pg)
    assert compare_rows(pipeline_pg, pipeline_ch).differing == 0


def test_a_row_that_changes_during_the_repair_is_not_put_back(
    population: dict[str, tuple[list[UUID], list[UUID]]],
    pg: psycopg.Connection,
    ch: Client,
    databases: Databases,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A sync that could overtake the repair would have its newer rows replaced by older ones."""
    (first, second), users = population["acme"]
    ch.command("DELETE FROM user_cohorts WHERE company_id = 'acme'")
    ch.command(
        "INSERT INTO user_cohorts VALUES ({user:String}, {cohort:String}, 'acme', 7)",
        parameters={"user": str(users[2]), "cohort": str(second)},
    )
    insert = warehouse.insert_members
    refused = []

    def insert_late(ch: Client, rows: Sequence[tuple[str, str, str, int]]) -> int:
        """Everything that the repair is about to write becomes old, and a sync tries at once."""
        pg.execute("UPDATE user_cohorts SET joined_at = '2020-01-01Z' WHERE company_id = 'acme'")
        pg.execute("DELETE FROM user_cohorts WHERE user_id = %s", (users[0],))
        pg.execute("UPDATE cohorts SET name = 'renamed' WHERE id = %s", (first,))
        with databases.postgres() as beside:
            beside.execute("SET lock_timeout = '20ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
                sync_cohorts(beside, pipeline_ch)
            refused.append(caught.value)
        return insert(ch, rows)

    with monkeypatch.context() as patch:
        patch.setattr(warehouse, "insert_members", insert_late)
        repaired = repair_rows(pipeline_pg, pipeline_ch)
    assert refused
    assert repaired.tables["user_cohorts"].missing == 5
    # What it wrote is old by now, and known to be: nothing is drift, and the next sync brings it.
    assert compare_rows(pipeline_pg, pipeline_ch).differing == 0
    sync_cohorts(pipeline_pg, pipeline_ch)
    assert warehouse_state(ch) == platform_state(pg)


def test_more_differences_than_a_chunk_holds(
    population: dict[str, tuple[list[UUID], list[UUID]]],
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparison, "CHUNK_ROWS", 4)
    ch.command("DELETE FROM user_cohorts WHERE company_id != 'other'")
    ch.command("DELETE FROM cohorts WHERE company_id != 'other'")
    repaired = repair_rows(pipeline_pg, pipeline_ch)
    assert repaired.tables["user_cohorts"].missing == 12
    assert repaired.tables["cohorts"].missing == 4
    assert warehouse_state(ch) == platform_state(pg)


def test_a_cohort_under_another_company_is_not_read_with_its_own(
    population: dict[str, tuple[list[UUID], list[UUID]]],
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
) -> None:
    """A chunk names its companies and its cohorts apart, and must not take their other pairs."""
    acme, other = (str(population[company][0][0]) for company in ("acme", "other"))
    for company in ("acme", "other"):
        ch.command(
            "INSERT INTO user_cohorts VALUES ('by hand', {cohort:String}, {company:String}, now())",
            parameters={"cohort": acme, "company": company},
        )
    ch.command("DELETE FROM user_cohorts WHERE cohort_id = {c:String}", parameters={"c": other})
    hashed = hash_groups(pipeline_pg, pipeline_ch, comparison.MEMBERS)
    chunk = {group: hashed.differing[group] for group in (("acme", acme), ("other", other))}
    assert len(hashed.differing) == 3
    [found] = comparison.read_differences(
        pipeline_pg, pipeline_ch, comparison.MEMBERS, replace(hashed, differing=chunk)
    )
    assert [one.text() for one in found if one.wanted is None] == [
        f"acme: user by hand in cohort {acme} is extra"
    ]
    assert len(found) == 4


# Postgres holds neither NUL nor half of a surrogate pair.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
odd = texts | st.sampled_from(
    [
        "'",
        '"',
        "\\",
        '", "',
        '": ',
        '\\", ',
        "\t\r\n",
        "\x01\x1f\x7f",
        "/",
        "1/1/",
        "ї",
        "👩‍🚀",
        "%s",
    ]
)
# As they stand in a text: what a reader makes of 1.10 or 1e2 must not matter.
numbers = st.sampled_from(["0", "-0", "1.10", "1e2", "1E-7", "12345678901234567890.50", "-1.0"])
scalars = st.sampled_from(["null", "true", "false"]) | numbers | odd.map(json.dumps)


def as_object(items: dict[str, str]) -> str:
    return "{" + ",".join(f"{json.dumps(key)}:{value}" for key, value in items.items()) + "}"


json_texts = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(odd, inner, max_size=3).map(as_object)
    ),
    max_leaves=6,
)
rows = st.tuples(odd, odd | st.none(), json_texts)


@pytest.fixture
def differing(pipeline_pg: psycopg.Connection, pipeline_ch: Client) -> Callable[[], int]:
    return lambda: sum(
        len(hash_groups(pipeline_pg, pipeline_ch, table).differing) for table in TABLES
    )


def test_both_sides_hash_any_text_alike(
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    differing: Callable[[], int],
) -> None:
    sync_cohorts(pipeline_pg, pipeline_ch)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(rows, min_size=1, max_size=12), st.data())
    def check(made: list[tuple[str, str | None, str]], data: st.DataObject) -> None:
        pg.execute("DELETE FROM cohorts")
        for number, (name, description, filters) in enumerate(made):
            # A name is never empty and its company's only one.
            pg.execute(
                "INSERT INTO cohorts (company_id, name, description, filters)"
                " VALUES ('acme', %s, %s, %s::jsonb)",
                (f"{name}/{number}", description, filters),
            )
        sync_cohorts(pipeline_pg, pipeline_ch)
        assert differing() == 0
        wanted = dict(pg.execute("SELECT id::text, filters FROM cohorts").fetchall())
        stored = dict(ch.query("SELECT cohort_id, filters FROM cohorts").result_rows)
        assert {key: json.loads(text) for key, text in stored.items()} == wanted

        # And no other text hashes to the same: one row, a column, a character more or moved.
        table = comparison.COHORTS
        [group] = hash_groups(pipeline_pg, pipeline_ch, table).groups
        columns = data.draw(st.sampled_from([("name",), ("description", "name"), ("filters",)]))
        with damaged(pg, pipeline_ch, columns):
            assert list(hash_groups(pipeline_pg, pipeline_ch, table).differing) == [group]
        assert differing() == 0

    check()


@contextlib.contextmanager
def damaged(pg: psycopg.Connection, ch: Client, columns: tuple[str, ...]):  # type: ignore[no-untyped-def]
    """One row of ClickHouse, its first column longer by the last character of its last column."""
    [row, *_] = ch.query("SELECT * FROM cohorts ORDER BY cohort_id").named_results()
    first, last = columns[0], columns[-1]
    changed = dict(row)
    changed[last] = row[last][:-1] if last != first else row[last]
    changed[first] = changed[first] + row[last][-1:]
    names = list(row)
    ch.insert("cohorts", [[changed[name] for name in names]], names)
    try:
        yield
    finally:
        ch.insert("cohorts", [[row[name] for name in names]], names)


def test_times_and_ids_are_hashed_alike(
    pg: psycopg.Connection,
    ch: Client,
    pipeline_pg: psycopg.Connection,
    pipeline_ch: Client,
    differing: Callable[[], int],
) -> None:
    users = add_users(pg, "acme", 5)
    add_members(pg, add_cohort(pg, "acme", "c"), users)
    for user, moment in zip(
        users,
        ("infinity", "-infinity", "1969-12-31Z", "2024-02-29T12:00:00.9999Z", "2199-12-31Z"),
        strict=True,
    ):
        pg.execute("UPDATE user_cohorts SET joined_at = %s WHERE user_id = %s", (moment, user))
    sync_cohorts(pipeline_pg, pipeline_ch)
    assert differing() == 0
    [*stored] = ch.query(
        "SELECT user_id, cohort_id, company_id, toUnixTimestamp64Milli(joined_at) FROM user_cohorts"
    ).result_rows
    moved = MemberRow(*stored[0])
    warehouse.insert_members(pipeline_ch, [moved._replace(joined_at=moved.joined_at + 1)])
    assert differing() == 1
