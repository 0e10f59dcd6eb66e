"""Every SQL statement of the system, one a file, and the migrations of both databases.

`statement("clickhouse/select_migrations")` is the text of `sql/clickhouse/select_migrations.sql`.
Values never stand in the text: they are bound, `%(name)s` in Postgres, `{name:Type}` in ClickHouse.
"""

from functools import cache
from pathlib import Path
from typing import LiteralString

SQL_FOLDER = Path(__file__).parent


@cache
def statement(name: str) -> LiteralString:
    """Text of the statement `name` (`<database>/<verb>_<noun>`, without `.sql`).

    Typed as literal because it is a file of this package, not something a caller composed.

    Raises:
        FileNotFoundError: no such statement.
    """
    return (SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
