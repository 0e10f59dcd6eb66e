"""`analytics alert`: is the receiver reached, and what is wrong now?"""

from __future__ import annotations

import getpass
import json
import socket
from datetime import UTC, datetime
from typing import Annotated

import psycopg
import typer

from cli.refusal import Refused
from cli.servers import connect_postgres, read_settings
from pipelines.defs.alerts.condition import Severity
from pipelines.defs.alerts.decision import Alert
from pipelines.defs.alerts.message import compose, fields, line
from pipelines.defs.alerts.receiver import NotDeliveredError, receiver_of
from pipelines.defs.alerts.store import read_alerts

app = typer.Typer(
    name="alert",
    help="Alerts: send a test to the receiver, list what is open.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


@app.command("test")
def send_test(as_json: AsJson = False) -> None:
    """Send a test alert to ALERT_WEBHOOK_URL. Says what the receiver answered."""
    settings = read_settings()
    if settings.alert_webhook_url is None:
        raise Refused(
            "ALERT_WEBHOOK_URL is not set: alerts are kept in the table and written to the log of "
            "Dagster only; set it to your receiver's address"
        )
    now = datetime.now(UTC)
    alert = Alert(
        key="test/alert",
        opened_at=now,
        severity=Severity.WARNING,
        text=f"test alert, sent by {getpass.getuser()} on {socket.gethostname()}; nothing is wrong",
        see="alerts",
        next_send_at=now,
    )
    try:
        answer = receiver_of(settings).send(compose([alert], now))
    except NotDeliveredError as error:
        raise Refused(f"the test alert was not delivered: {error}") from None
    print(json.dumps({"delivered": True, "answer": answer}) if as_json else f"delivered: {answer}")


@app.command("list")
def list_alerts(as_json: AsJson = False) -> None:
    """List the open alerts, the worst first."""
    with connect_postgres(read_settings()) as pg:
        now = datetime.now(UTC)
        try:
            alerts = read_alerts(pg, resolved_since=now)
        except psycopg.errors.UndefinedTable:
            raise Refused("the table alerts does not exist; run `analytics migrate`") from None
    current = [one for one in alerts if one.resolved_at is None]
    current.sort(key=lambda one: (-one.severity.rank, one.opened_at))
    if as_json:
        print(json.dumps({"alerts": [fields(one, now) for one in current]}))
        return
    for one in current:
        print(line(one, now))
    if not current:
        print("no open alerts")
