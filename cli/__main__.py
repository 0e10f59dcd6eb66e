"""`analytics` and `python -m cli`: table of contents of the command line.

Exit codes: 0 done, 1 refused or failed (one line on standard error says what and what to do),
2 wrong usage or a setting that can't be used, 130 interrupted.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import typer

from cli import alert, backups, cohort, dlq, erase
from cli.doctor.command import doctor
from cli.import_history import import_history
from cli.migrate import migrate
from cli.psql import psql
from cli.publish import publish
from cli.query import query
from cli.refusal import Refused
from cli.retention import retention
from cli.tail import tail
from cli.token import token
from cli.up import up
from config import SettingsError

app = typer.Typer(
    name="analytics",
    help="Real-time, company-scoped impact analytics. Settings come from the environment and .env.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(up)
app.command()(migrate)
app.command()(publish)
app.command()(tail)
app.command()(query)
app.command(
    # Everything after `psql` is psql's own, also options that we would know.
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    }
)(psql)
app.command()(token)
app.command("import")(import_history)
app.command()(doctor)
app.add_typer(cohort.app)
app.add_typer(dlq.app)
app.command()(backups.backup)
app.add_typer(backups.app)
app.command()(backups.restore)
app.add_typer(alert.app)
app.add_typer(erase.app)
app.command()(retention)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    # What libraries log is raised as well, and then said here in one line.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        app(args=arguments, prog_name="analytics")
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(1)
    except SettingsError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
