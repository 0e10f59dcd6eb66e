"""Columns of a view as Dagster's UI shows them."""

import dagster as dg
import psycopg

from sql import statement


def table_schema(pg: psycopg.Connection, view: str) -> dg.TableSchema:
    """Names and types as Postgres has them; the formulas stand in the migration."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name, kind)
            for name, kind in pg.execute(statement("postgres/select_view_columns"), {"view": view})
        ]
    )
