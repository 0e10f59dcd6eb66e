"""What our code does with clickhouse-connect works as on a server.

One page, because one client is asked for everything that a server gives it.
"""

from __future__ import annotations

import asyncio
import gzip
import threading
import uuid
from contextlib import closing
from datetime import UTC, datetime

import clickhouse_connect
import lz4.frame  # type: ignore[import-untyped]
import pytest
from backports import zstd
from clickhouse_connect import common
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.live.clickhouse.process import ClickHouseProcess, wait_until

COLUMNS = ["id", "name", "kind", "note", "at", "tags", "numbers"]
TABLE = """
    CREATE TABLE t (
        id Int64, name String, kind LowCardinality(String), note Nullable(String),
        at DateTime64(3, 'UTC'), tags Map(String, String), numbers Array(Int32)
    ) ENGINE = MergeTree ORDER BY id
"""
MOMENT = datetime(2026, 3, 29, 1, 30, 0, 123000)


def rows(count: int) -> list[list[object]]:
    return [
        [i, f"tab\tline\nquote'{i}", "a", None if i % 2 else "é", MOMENT, {"k": "v"}, [i, -i]]
        for i in range(count)
    ]


@pytest.mark.parametrize("compress", [True, False, "lz4", "zstd", "gzip"])
def test_inserted_rows_come_back_as_they_went_in(
    server: ClickHouseProcess, database: str, compress: bool | str
) -> None:
    with closing(server.client(database, compress=compress)) as client:
        client.command(TABLE)
        summary = client.insert("t", rows(1000), column_names=COLUMNS)
        assert summary.written_rows == 1000
        found = client.query("SELECT * FROM t ORDER BY id")
        assert found.column_names == tuple(COLUMNS)
        assert [list(row) for row in found.result_rows] == rows(1000)


def test_an_empty_result_still_names_its_columns(client: Client) -> None:
    client.command(TABLE)
    assert client.query("SELECT id, name FROM t LIMIT 0").column_names == ("id", "name")
    assert client.query("SELECT id, name FROM t").result_rows == []


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=text,
    items=st.lists(text, max_size=3),
    tags=st.dictionaries(text, text, max_size=3),
    note=st.none() | text,
    moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
)
def test_a_bound_parameter_arrives_unchanged(
    client: Client,
    value: str,
    items: list[str],
    tags: dict[str, str],
    note: str | None,
    moment: datetime,
) -> None:
    common.set_setting("dict_parameter_format", "map")
    found = client.query(
        "SELECT {value:String}, {items:Array(String)}, {tags:Map(String, String)},"
        " {note:Nullable(String)}, {moment:DateTime64(6, 'UTC')}",
        parameters={
            "value": value,
            "items": items,
            "tags": tags,
            "note": note,
            "moment_64": moment.replace(tzinfo=UTC),
        },
    )
    assert found.result_rows == [(value, items, tags, note, moment)]


def test_a_parameter_longer_than_a_url_arrives_unchanged(client: Client) -> None:
    value = "long\t'" * 100_000
    found = client.query("SELECT {value:String}", parameters={"value": value})
    assert found.result_rows == [(value,)]


def test_insert_statements_take_parameters(client: Client) -> None:
    client.command("CREATE TABLE t (a Int32, s String) ENGINE = MergeTree ORDER BY a")
    client.command(
        "INSERT INTO t VALUES ({a:Int32}, {s:String}), (2, upper('x'))",
        parameters={"a": 1, "s": "it's\n"},
    )
    assert client.query("SELECT * FROM t ORDER BY a").result_rows == [(1, "it's\n"), (2, "X")]


def test_rows_stream_in_blocks(client: Client) -> None:
    with client.query_row_block_stream("SELECT number FROM numbers(1000000)") as blocks:
        sizes = [len(block) for block in blocks]
    assert sum(sizes) == 1_000_000
    assert len(sizes) > 1


def test_an_error_in_the_middle_of_a_stream_is_raised(client: Client) -> None:
    statement = "SELECT number, throwIf(number = 9000000, 'half way') FROM numbers(10000000)"
    seen: list[int] = []
    with client.query_row_block_stream(statement) as blocks:
        with pytest.raises(StreamFailureError, match="half way"):
            seen.extend(len(block) for block in blocks)
    assert sum(seen) > 0


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("SELEC 1", 62),
        ("SELECT 1; SELECT 2", 62),
        ("SELECT * FROM nowhere", 60),
        ("SELECT * FROM nowhere.t", 81),
        ("SELECT 1 SETTINGS nothing = 1", 115),
        ("SELECT throwIf(1)", 395),
        ("SELECT {missing:String}", 456),
        ("SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a Int8') INTO OUTFILE 'x'", 187),
        ("CREATE TEMPORARY TABLE x (a Int8)", 48),
    ],
)
def test_an_error_carries_the_engines_code(client: Client, statement: str, code: int) -> None:
    for run in (client.query, client.command):
        with pytest.raises(DatabaseError) as caught:
            run(statement)
        assert caught.value.code == code


def test_settings_hold_for_one_call_only(client: Client) -> None:
    read = "SELECT getSetting('max_threads'), getSetting('final')"
    before = client.query(read).result_rows
    assert before[0][1] is True
    changed = client.query(read, settings={"max_threads": 3, "final": 0}).result_rows
    assert changed == [(3, False)]
    assert client.query(read).result_rows == before


def test_a_setting_in_a_statement_of_its_own_is_refused_in_a_session(client: Client) -> None:
    # It could not outlive its request, and silence would look like success.
    with pytest.raises(DatabaseError, match="keeps no state between requests"):
        client.command("SET max_threads = 1")


def test_only_temporary_tables_are_refused_not_names_like_it(client: Client) -> None:
    client.command("CREATE TABLE temporary_t (a Int8) ENGINE = MergeTree ORDER BY a")
    assert client.command("SELECT count() FROM temporary_t") == 0


def test_the_database_is_the_clients(server: ClickHouseProcess, client: Client) -> None:
    client.command("CREATE TABLE here (a Int8) ENGINE = MergeTree ORDER BY a")
    assert client.command("SELECT count() FROM here") == 0
    assert client.command("SELECT currentDatabase()") == client.database
    with pytest.raises(DatabaseError) as caught:
        server.client("no_such_database")
    assert caught.value.code == 81


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
def test_raw_rows_are_inserted(client: Client, compression: str | None) -> None:
    client.command("CREATE TABLE t (a Int32, s String) ENGINE = MergeTree ORDER BY a")
    lines = b"".join(b'{"a":%d,"s":"FORMAT CSV \\u0041"}\n' % i for i in range(10_000))
    packers = {"gzip": gzip.compress, "lz4": lz4.frame.compress, "zstd": zstd.compress}
    body = packers[compression](lines) if compression else lines
    done = client.raw_insert(
        "t", ["a", "s"], body, fmt="JSONEachRow", compression=compression,
        settings={"max_insert_block_size": 1_000_000},
    )  # fmt: skip
    assert done.written_rows == 10_000
    assert client.query("SELECT sum(a), any(s) FROM t").result_rows == [
        (49_995_000, "FORMAT CSV A")
    ]


def test_a_raw_result_comes_in_any_format(client: Client) -> None:
    assert client.raw_query("SELECT 1 AS x", fmt="JSONEachRow") == b'{"x":1}\n'
    assert client.raw_query("SELECT 1 AS x", fmt="CSVWithNames") == b'"x"\n1\n'
    assert b'"rows": 1' in client.raw_query("SELECT 1 AS x", fmt="JSON")
    assert client.raw_query("SELECT 1 AS x FORMAT TSV -- end") == b"1\n"
    totals = client.raw_query(
        "SELECT number, 2 FROM numbers(1) GROUP BY number WITH TOTALS", fmt="TSV"
    )
    assert totals == b"0\t2\n\n0\t2\n"


def test_a_repeated_insert_with_its_token_is_dropped(client: Client) -> None:
    client.command(
        "CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a"
        " SETTINGS non_replicated_deduplication_window = 100"
    )
    for token in ("one", "one", "two"):
        client.insert("t", [[1]], ["a"], settings={"insert_deduplication_token": token})
    assert client.command("SELECT count() FROM t") == 2


def test_a_materialised_view_sees_a_streamed_insert(client: Client) -> None:
    client.command("CREATE TABLE t (a Int32, s String) ENGINE = Null")
    client.command("CREATE TABLE sums (n Int64) ENGINE = SummingMergeTree ORDER BY tuple()")
    client.command("CREATE MATERIALIZED VIEW v TO sums AS SELECT sum(a) AS n FROM t")
    client.insert("t", [[i, "x"] for i in range(100)], ["a", "s"])
    assert client.command("SELECT sum(n) FROM sums") == 4950


def test_a_backup_is_restored_under_another_name(client: Client) -> None:
    client.command("CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
    client.insert("t", [[i] for i in range(100)], ["a"])
    name = uuid.uuid4().hex
    done = client.query(f"BACKUP TABLE t TO Disk('backups', '{name}')").result_rows
    assert done[0][1] == "BACKUP_CREATED"
    client.command("INSERT INTO t VALUES (100)")
    client.command(
        f"BACKUP TABLE t TO Disk('backups', '{name}-more')"
        f" SETTINGS base_backup = Disk('backups', '{name}')"
    )
    client.command(f"RESTORE TABLE t AS u FROM Disk('backups', '{name}-more')")
    assert client.command("SELECT count(), sum(a) FROM u") == ["101", "5050"]


def test_parts_and_queries_are_in_the_system_tables(client: Client) -> None:
    client.command("CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
    client.insert("t", [[1]], ["a"])
    where = "WHERE database = currentDatabase() AND table = 't'"
    assert client.command(f"SELECT sum(rows) FROM system.parts {where} AND active") == 1
    query_id = uuid.uuid4().hex
    client.query("SELECT count() FROM t", settings={"query_id": query_id})
    client.command("SYSTEM FLUSH LOGS")
    logged = "SELECT count() FROM system.query_log WHERE log_comment = {id:String}"
    assert client.command(
        f"{logged} AND type = 'QueryFinish'", parameters={"id": query_id}
    ) == 1  # fmt: skip
    assert client.command(f"SELECT count() > 0 FROM system.part_log {where}") == 1


def test_a_query_is_killed_by_the_clients_id(server: ClickHouseProcess, client: Client) -> None:
    query_id = uuid.uuid4().hex
    failed: list[DatabaseError] = []

    def long_query() -> None:
        with closing(server.client()) as other, pytest.raises(DatabaseError) as caught:
            other.query(
                "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
                settings={"query_id": query_id},
            )
        failed.append(caught.value)

    thread = threading.Thread(target=long_query)
    thread.start()
    running = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {id:String}"
    wait_until(lambda: client.command(running, parameters={"id": query_id}) == 1)
    client.command("KILL QUERY WHERE query_id = {id:String}", parameters={"id": query_id})
    thread.join(10)
    assert [error.code for error in failed] == [394]


def test_a_long_query_does_not_block_a_short_one(server: ClickHouseProcess) -> None:
    with closing(server.client()) as slow, closing(server.client()) as quick:
        done = threading.Event()

        def long_query() -> None:
            slow.query("SELECT sleep(2)")
            done.set()

        thread = threading.Thread(target=long_query)
        thread.start()
        busy = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sleep(2)%'"
        wait_until(lambda: quick.command(busy) == 1)
        assert not done.is_set()
        thread.join()


def test_thirty_clients_insert_and_read_at_once(server: ClickHouseProcess, client: Client) -> None:
    client.command("CREATE TABLE t (who Int32, a Int32) ENGINE = MergeTree ORDER BY (who, a)")
    errors: list[BaseException] = []

    def work(who: int) -> None:
        try:
            with closing(server.client(str(client.database))) as own:
                for i in range(5):
                    own.insert("t", [[who, i * 10 + j] for j in range(10)], ["who", "a"])
                    count = own.command(
                        "SELECT count() FROM t WHERE who = {who:Int32}", parameters={"who": who}
                    )
                    assert count == (i + 1) * 10
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert client.command("SELECT count() FROM t") == 1500


async def test_the_async_client_works_side_by_side(
    server: ClickHouseProcess, database: str
) -> None:
    async with await clickhouse_connect.get_async_client(
        host="127.0.0.1",
        port=server.port,
        username="teei",
        database=database,
        autogenerate_session_id=False,
    ) as client:
        await client.command(TABLE)
        await asyncio.gather(
            *(client.insert("t", rows(100), column_names=COLUMNS) for _ in range(10))
        )
        found = await asyncio.gather(*(client.query("SELECT count() FROM t") for _ in range(30)))
        assert {tuple(each.result_rows) for each in found} == {((1000,),)}
        seen = 0
        async with await client.query_row_block_stream("SELECT number FROM numbers(500000)") as it:
            async for block in it:
                seen += len(block)
        assert seen == 500_000
        with pytest.raises(DatabaseError) as caught:
            await client.query("SELECT * FROM nowhere")
        assert caught.value.code == 60
