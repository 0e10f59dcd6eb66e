"""`analytics migrate`: bring the schemas of both databases up to this version."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from typing import Annotated

import typer
from clickhouse_connect.driver.exceptions import ClickHouseError

from cli.refusal import Refused
from cli.servers import connect_clickhouse, connect_postgres, read_settings, refuse_clickhouse
from config import Settings
from sql import bridge
from sql.migrations import ClickHouseMigrations, Migration, MigrationError, PostgresMigrations


def migrate(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be applied; change nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Apply the migrations that are missing. Safe to repeat."""
    settings = read_settings()
    try:
        done = run_migrations(settings, dry_run)
    except MigrationError as error:
        raise Refused(f"migration refused: {error}") from None
    except ClickHouseError as error:
        raise refuse_clickhouse(settings, error) from None
    if as_json:
        names = {label: [one.name for one in migrations] for label, migrations in done.items()}
        print(json.dumps({"dryRun": dry_run, **names}))
        return
    verb = "would apply" if dry_run else "applied"
    for label, migrations in done.items():
        for one in migrations:
            print(f"{label:<10}  {verb} {one.name}")
        if not migrations:
            print(f"{label:<10}  up to date")


def run_migrations(settings: Settings, dry_run: bool) -> dict[str, Sequence[Migration]]:
    """Apply what is missing in both databases, or only read it; returns label → migrations."""
    with contextlib.ExitStack() as stack:
        postgres = PostgresMigrations(stack.enter_context(connect_postgres(settings)))
        databases: list[PostgresMigrations | ClickHouseMigrations] = [postgres]
        if settings.clickhouse_enabled:
            # Not into its database: that may be what the first migration creates.
            client = stack.enter_context(
                contextlib.closing(connect_clickhouse(settings, "default"))
            )
            databases.append(ClickHouseMigrations(client, settings.clickhouse_database))
        if dry_run:
            return {one.label: one.pending() for one in databases}
        stack.enter_context(postgres.lock())
        applied: dict[str, Sequence[Migration]] = {one.label: one.apply() for one in databases}
        if settings.clickhouse_enabled:
            bridge.connect_postgres(
                client, settings.clickhouse_database, settings.database_url.get_secret_value()
            )
        return applied
