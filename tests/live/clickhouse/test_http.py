"""The HTTP protocol as curl and plain clients use it.

One page, because all of it asks one process over one address.
"""

from __future__ import annotations

import gzip
import json
import socket
import threading
import uuid
import zlib
from functools import partial

import httpx
import lz4.frame  # type: ignore[import-untyped]
import pytest
from backports import zstd

from tests.live.clickhouse.process import ClickHouseProcess, wait_until


def query(http: httpx.Client, text: str, **arguments: str) -> str:
    answer = http.post("/", params=arguments, content=text)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_ping_and_the_bare_address_answer_ok(http: httpx.Client) -> None:
    for path in ("/ping", "/", "/replicas_status"):
        answer = http.get(path)
        assert (answer.status_code, answer.text) == (200, "Ok.\n")
    assert http.get("/nowhere").status_code == 404


def answers(http: httpx.Client, text: str, expected: str) -> bool:
    return query(http, text) == f"{expected}\n"


@pytest.mark.parametrize(
    ("text", "body"),
    [("SELECT 1", ""), ("", "SELECT 1"), ("SELECT", "1"), ("SELECT 1 --", ""), ("", " select(1);")],
)
def test_a_statement_stands_in_the_url_the_body_or_both(
    http: httpx.Client, text: str, body: str
) -> None:
    answer = http.post("/", params={"query": text} if text else {}, content=body)
    assert (answer.status_code, answer.text) == (200, "1\n")


def test_a_result_has_the_servers_headers(http: httpx.Client) -> None:
    headers = http.post(
        "/", params={"query_id": "mine"}, content="SELECT number FROM numbers(10)"
    ).headers
    assert headers["X-ClickHouse-Query-Id"] == "mine"
    assert headers["X-ClickHouse-Format"] == "TabSeparated"
    assert headers["X-ClickHouse-Timezone"] == "UTC"
    assert headers["X-ClickHouse-Server-Display-Name"]
    summary = json.loads(headers["X-ClickHouse-Summary"])
    assert (summary["read_rows"], summary["result_rows"]) == ("10", "10")
    assert int(summary["elapsed_ns"]) > 0


def test_the_time_zone_is_utc_whatever_the_hosts(http: httpx.Client) -> None:
    assert query(http, "SELECT timezone(), toDateTime(0), toHour(toDateTime(3600))") == (
        "UTC\t1970-01-01 00:00:00\t1\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"params": {"default_format": "JSONEachRow"}},
        {"headers": {"X-ClickHouse-Format": "JSONEachRow"}},
    ],
)
def test_the_format_may_be_given_outside_the_statement(
    http: httpx.Client, arguments: dict[str, dict[str, str]]
) -> None:
    answer = http.post("/", content="SELECT 1 AS x", **arguments)  # type: ignore[arg-type]
    assert answer.text == '{"x":1}\n'
    assert answer.headers["X-ClickHouse-Format"] == "JSONEachRow"


def test_the_database_and_credentials_may_come_in_headers(
    http: httpx.Client, database: str
) -> None:
    answer = http.post(
        "/",
        content="SELECT currentDatabase()",
        headers={"X-ClickHouse-Database": database, "X-ClickHouse-User": "teei"},
        auth=("teei", "ignored"),
    )
    assert answer.text == f"{database}\n"


@pytest.mark.parametrize(
    ("statement", "status", "code"),
    [
        ("SELEC 1", 400, 62),
        ("", 400, 62),
        ("SELECT * FROM nowhere", 404, 60),
        ("SELECT no_such_function()", 404, 46),
        ("SELECT 1 FORMAT Nothing", 404, 73),
        ("SELECT throwIf(1)", 500, 395),
        ("SELECT sleep(3) SETTINGS max_execution_time = 0.1", 408, 159),
    ],
)
def test_an_error_has_the_servers_status_and_form(
    http: httpx.Client, statement: str, status: int, code: int
) -> None:
    answer = http.post("/", content=statement)
    assert answer.status_code == status
    assert answer.headers["X-ClickHouse-Exception-Code"] == str(code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "(version 26." in answer.text


def test_an_unknown_setting_is_the_engines_error(http: httpx.Client) -> None:
    for name in ("nothing", "a=1,b", "max_threads = 1 --"):
        answer = http.post("/", params={name: "1"}, content="SELECT 1")
        assert answer.status_code == 404
        assert answer.headers["X-ClickHouse-Exception-Code"] == "115"


def test_a_get_changes_nothing(http: httpx.Client, database: str) -> None:
    answer = http.get("/", params={"query": f"CREATE TABLE {database}.t (a Int8) ENGINE = Log"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert query(http, f"SHOW TABLES FROM {database}") == ""
    # Settings are still allowed, as on the real server.
    assert http.get("/", params={"query": "SELECT 1", "max_threads": "1"}).text == "1\n"


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("INSERT INTO {db}.t FORMAT TSV", "1\tFORMAT\n2\tVALUES\n"),
        ("INSERT INTO {db}.t (a, s) FORMAT CSV", '1,"FORMAT"\n2,VALUES\n'),
        ("insert into `{db}`.`t` settings max_threads=1 values", "(1, 'FORMAT'), (2, 'VALUES')"),
        ("/* c */ INSERT INTO {db}.t -- x\n FORMAT TSV", "1\tFORMAT\n2\tVALUES\n"),
        ("INSERT INTO TABLE {db}.t SELECT", "1, 'FORMAT' UNION ALL SELECT 2, 'VALUES'"),
    ],
)
@pytest.mark.parametrize("in_url", [True, False])
def test_an_insert_finds_its_data(
    http: httpx.Client, database: str, head: str, data: str, in_url: bool
) -> None:
    query(http, f"CREATE TABLE {database}.t (a Int8, s String) ENGINE = MergeTree ORDER BY a")
    head = head.format(db=database)
    if in_url:
        answer = http.post("/", params={"query": head}, content=data)
    else:
        # Byte by byte: the statement must be found wherever the pieces are cut.
        text = f"{head}\n{data}".encode()
        answer = http.post("/", content=(text[i : i + 1] for i in range(len(text))))
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert query(http, f"SELECT * FROM {database}.t ORDER BY a") == "1\tFORMAT\n2\tVALUES\n"


def test_an_insert_that_would_lose_its_data_is_refused(http: httpx.Client, database: str) -> None:
    query(http, f"CREATE TABLE {database}.t (a Int8) ENGINE = MergeTree ORDER BY a")
    answer = http.post(
        "/",
        params={"query": f"INSERT INTO {database}.t SELECT a FROM input('a Int8') FORMAT CSV"},
        content="1\n",
    )
    assert answer.headers["X-ClickHouse-Exception-Code"] == "48"


def test_the_query_log_holds_what_clients_asked_and_nothing_else(
    http: httpx.Client, database: str
) -> None:
    query(http, "CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a", database=database)
    mark = uuid.uuid4().hex
    http.get(
        "/", params={"query": "SELECT 1", "query_id": mark, "database": database}
    ).raise_for_status()
    query(
        http,
        "INSERT INTO {t:Identifier} FORMAT CSV\n1\n",
        param_t="t",
        log_comment=mark,
        database=database,
    )
    query(http, "SYSTEM FLUSH LOGS")
    logged = query(
        http,
        "SELECT query_kind FROM system.query_log WHERE type = 'QueryFinish'"
        " AND (log_comment = {mark:String} OR position(query, {mark:String}) > 0)"
        " ORDER BY event_time_microseconds",
        param_mark=mark,
    )
    assert logged == "Select\nInsert\n"


def test_a_bad_row_commits_nothing_of_its_body(http: httpx.Client, database: str) -> None:
    query(http, f"CREATE TABLE {database}.t (a Int32) ENGINE = MergeTree ORDER BY a")
    body = "".join(f'{{"a":{i}}}\n' for i in range(50_000)) + '{"a":"no number"}\n'
    answer = http.post(
        "/", params={"query": f"INSERT INTO {database}.t FORMAT JSONEachRow"}, content=body
    )
    assert answer.status_code == 400
    assert "at row 50001" in answer.text
    assert query(http, f"SELECT count() FROM {database}.t") == "0\n"


def test_a_client_that_leaves_in_the_middle_of_an_insert_commits_nothing(
    server: ClickHouseProcess, http: httpx.Client, database: str
) -> None:
    query(http, f"CREATE TABLE {database}.t (a Int32) ENGINE = MergeTree ORDER BY a")
    spool = server.data / "spool"
    head = (
        f"POST /?query=INSERT+INTO+{database}.t+FORMAT+TSV HTTP/1.1\r\n"
        "Host: x\r\nContent-Length: 100000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(head.encode() + b"1\n" * 1_000_000)
        wait_until(lambda: any(spool.iterdir()))
    wait_until(lambda: not any(spool.iterdir()))
    assert query(http, f"SELECT count() FROM {database}.t") == "0\n"


def test_a_client_that_leaves_cancels_its_query(
    server: ClickHouseProcess, http: httpx.Client
) -> None:
    for statement in (
        "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))",
        "SELECT number FROM numbers(1000000000000)",
    ):
        query_id = uuid.uuid4().hex
        busy = f"SELECT count() FROM system.processes WHERE Settings['log_comment'] = '{query_id}'"
        head = (
            f"POST /?query_id={query_id} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Length: {len(statement)}\r\n\r\n{statement}"
        )
        with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
            connection.sendall(head.encode())
            wait_until(partial(answers, http, busy, "1"))
        wait_until(partial(answers, http, busy, "0"))


def test_a_query_id_that_is_running_is_refused(
    server: ClickHouseProcess, http: httpx.Client
) -> None:
    with server.http() as other, other.stream(
        "POST", "/", params={"query_id": "twice"}, content="SELECT number FROM numbers(1000000000)"
    ) as first:  # fmt: skip
        assert first.status_code == 200
        second = http.post("/", params={"query_id": "twice"}, content="SELECT 1")
        assert second.headers["X-ClickHouse-Exception-Code"] == "216"


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd", "deflate"])
def test_a_response_is_compressed_when_asked_for(http: httpx.Client, encoding: str) -> None:
    unpack = {
        "gzip": gzip.decompress,
        "lz4": lz4.frame.decompress,
        "zstd": zstd.decompress,
        "deflate": zlib.decompress,
    }[encoding]
    for rows in (1, 2_000_000):
        statement = f"SELECT number FROM numbers({rows})"
        with http.stream(
            "POST",
            "/",
            params={"enable_http_compression": "1"},
            headers={"Accept-Encoding": encoding},
            content=statement,
        ) as answer:
            packed = b"".join(answer.iter_raw())
        assert answer.headers["Content-Encoding"] == encoding
        assert unpack(packed).count(b"\n") == rows
    plain = http.post("/", content="SELECT 1", headers={"Accept-Encoding": encoding})
    assert "Content-Encoding" not in plain.headers


@pytest.mark.parametrize("encoding", ["gzip", "lz4", "zstd", "deflate", "nothing"])
def test_a_damaged_body_is_one_clear_400(http: httpx.Client, encoding: str) -> None:
    answer = http.post("/", content=b"SELECT 1", headers={"Content-Encoding": encoding})
    assert answer.status_code == (501 if encoding == "nothing" else 400)
    assert encoding in answer.text
    assert query(http, "SELECT 1") == "1\n"


def test_a_body_that_ends_too_early_inserts_nothing(http: httpx.Client, database: str) -> None:
    query(http, f"CREATE TABLE {database}.t (a Int32) ENGINE = MergeTree ORDER BY a")
    packed = gzip.compress(b"".join(b"%d\n" % i for i in range(100_000)))
    for body in (packed[: len(packed) // 2], packed[:-4]):
        answer = http.post(
            "/",
            params={"query": f"INSERT INTO {database}.t FORMAT TSV"},
            headers={"Content-Encoding": "gzip"},
            content=body,
        )
        assert (answer.status_code, "ends too early" in answer.text) == (400, True)
        assert query(http, f"SELECT count() FROM {database}.t") == "0\n"


def test_bad_utf8_is_one_clear_400(http: httpx.Client) -> None:
    answers = [
        http.post("/", content=b"SELECT '\xff'"),
        http.get("/?query=SELECT%20%27%FF%27"),
        http.get("/?query=SELECT%201&param_x=%FF"),
    ]
    for answer in answers:
        assert answer.status_code == 400
        assert "UTF-8" in answer.text


def test_a_head_without_end_is_one_clear_400(server: ClickHouseProcess) -> None:
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            connection.sendall((b"X-Long: " + b"x" * 8000 + b"\r\n") * 2000)
    with socket.create_connection(("127.0.0.1", server.port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX-Long: " + b"x" * (1 << 20))
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_long_statement_is_let_through_and_an_endless_one_refused(http: httpx.Client) -> None:
    numbers = ",".join(str(i) for i in range(20_000))
    assert query(http, f"SELECT count() FROM numbers(30000) WHERE number IN ({numbers})") == (
        "20000\n"
    )
    answer = http.post("/", content=b"SELECT '" + b"x" * (17 << 20) + b"'")
    assert (answer.status_code, "Max query size exceeded" in answer.text) == (400, True)


def test_a_stream_that_fails_is_broken_off_with_the_error_inside(http: httpx.Client) -> None:
    pieces: list[bytes] = []
    statement = "SELECT throwIf(number = 5000000) FROM numbers(10000000)"
    with http.stream("POST", "/", content=statement) as answer:
        with pytest.raises(httpx.RemoteProtocolError):
            pieces.extend(answer.iter_raw())
    received = b"".join(pieces)
    tag = answer.headers["X-ClickHouse-Exception-Tag"].encode()
    assert b"__exception__\r\n" + tag + b"\r\nCode: 395. " in received
    assert received.endswith(tag + b"\r\n__exception__\r\n")


def test_waiting_for_the_end_turns_that_error_into_a_status(http: httpx.Client) -> None:
    answer = http.post(
        "/",
        params={"wait_end_of_query": "1"},
        content="SELECT throwIf(number = 5000000) FROM numbers(10000000)",
    )
    assert answer.status_code == 500
    whole = http.post(
        "/", params={"wait_end_of_query": "1"}, content="SELECT number FROM numbers(5000000)"
    )
    assert whole.text.count("\n") == 5_000_000
    assert json.loads(whole.headers["X-ClickHouse-Summary"])["result_rows"] == "5000000"


def test_overload_is_answered_503_and_passes(server: ClickHouseProcess, http: httpx.Client) -> None:
    requests = 290  # 16 workers and 256 places to wait
    stop = uuid.uuid4().hex
    # Longer than the test: it ends by being killed.
    words = f"SELECT sleepEachRow(1), '{stop}' FROM numbers(60) SETTINGS max_block_size = 1"
    statement = words.encode()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(statement)
    connections = [
        socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(requests)
    ]
    try:
        for connection in connections:
            connection.sendall(head + statement)
        answer = http.post("/", content="SELECT 1")
        assert answer.status_code == 503
        assert answer.headers["X-ClickHouse-Exception-Code"] == "202"
        # Whoever has to stop something gets through.
        assert http.get("/ping").text == "Ok.\n"
        killed = http.post("/", content=f"KILL QUERY WHERE query LIKE '%{stop}%' AND elapsed > 0")
        assert killed.status_code == 200
        assert stop in killed.text
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: http.post("/", content="SELECT 1").status_code == 200)


def test_sessions_are_accepted_and_may_overlap(server: ClickHouseProcess) -> None:
    errors: list[str] = []

    def work() -> None:
        with server.http() as own:
            for _ in range(10):
                answer = own.post(
                    "/",
                    params={"session_id": "same", "session_timeout": "60"},
                    content="SELECT 1",
                )
                if answer.text != "1\n":
                    errors.append(answer.text)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("through_a_view", [False, True])
def test_write_that_the_engine_refuses_is_an_error(
    http: httpx.Client, database: str, through_a_view: bool
) -> None:
    """Not only what can't be parsed: also what fails on its way into the table."""

    def run(statement: str, data: str = "") -> httpx.Response:
        return http.post("/", params={"query": statement, "database": database}, content=data)

    run("CREATE TABLE t (a Int64, CONSTRAINT small CHECK a < 10) ENGINE = MergeTree ORDER BY a")
    run("CREATE TABLE door (a Int64) ENGINE = Null")
    run("CREATE MATERIALIZED VIEW into_t TO t AS SELECT a FROM door")
    table = "door" if through_a_view else "t"
    refused = run(f"INSERT INTO {table} FORMAT JSONEachRow", '{"a":1}\n{"a":11}\n')
    assert refused.status_code == 500
    assert refused.headers["x-clickhouse-exception-code"] == "469"
    assert run("SELECT count() FROM t").text == "0\n"
    accepted = run(
        f"INSERT INTO {table} SETTINGS max_insert_threads = 1 FORMAT JSONEachRow", '{"a":1}\n'
    )
    assert accepted.status_code == 200
    assert run("SELECT count() FROM t").text == "1\n"
