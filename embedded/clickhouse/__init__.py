"""The embedded ClickHouse: one process owns a data folder and serves ClickHouse's HTTP protocol.

The engine is `chdb-core`, the real ClickHouse engine in process; it allows one process a folder.
`python -m embedded.clickhouse --data DIR --port 8123` puts HTTP in front of it, so that
`clickhouse-connect`, `curl` and any other client use it as they use a server.

Not there, because the engine has none: users, passwords, grants (credentials are accepted and
ignored), sessions that outlive a request, and ClickHouse's own block compression (`compress=1`).
"""
