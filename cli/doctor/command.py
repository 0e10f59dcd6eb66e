"""`analytics doctor`: every check at once, one line each."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated

import typer

from cli.api import Token
from cli.doctor import probe
from cli.doctor.check import Finding, State, failed
from cli.doctor.checks import CHECKS, PROBE
from cli.doctor.examination import LIMIT_SECONDS, Examination
from cli.doctor.runbook import FOLDER, Entry
from cli.doctor.servers import Servers
from cli.refusal import one_line
from cli.servers import read_settings
from config import SettingsError

COLOURS = {
    State.OK: typer.colors.GREEN,
    State.WARNING: typer.colors.YELLOW,
    State.FAILED: typer.colors.RED,
    State.SKIPPED: typer.colors.BRIGHT_BLACK,
}
WORDS = {State.OK: "ok", State.WARNING: "warning", State.FAILED: "FAILED", State.SKIPPED: "skipped"}


def doctor(
    url: Annotated[
        str | None,
        typer.Option(
            help="Where dashboards reach the API, e.g. through the proxy; default by "
            "HOST_ANALYTICS, PORT_ANALYTICS."
        ),
    ] = None,
    dagster_url: Annotated[
        str | None, typer.Option(help="Dagster's webserver; default by DAGSTER_PORT.")
    ] = None,
    send_probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Publish one event of a company analytics-doctor and wait until it is streamed "
            "and stored.",
        ),
    ] = False,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what is wrong with a running system, and what to do.

    The exit code is 1 when anything failed.
    """
    began = time.monotonic()
    try:
        servers = Servers.of(read_settings(), url, dagster_url, token)
    except SettingsError as error:
        findings = {
            f"setting {number}": failed(one_line(line), Entry.SETTING_REFUSED)
            for number, line in enumerate(str(error).splitlines(), 1)
        }
    else:
        findings = examine(servers, send_probe=send_probe)
    seconds = time.monotonic() - began
    states = [one.state for one in findings.values()]
    if as_json:
        print(json.dumps(as_json_object(findings, seconds)))
    else:
        _print(findings, seconds)
    if State.FAILED in states:
        raise typer.Exit(1)


def examine(servers: Servers, *, send_probe: bool = False) -> dict[str, Finding]:
    """Check → what it found."""
    if send_probe:
        limit = LIMIT_SECONDS + probe.seconds_allowed(servers)
        return Examination(servers, (*CHECKS, PROBE), limit).run()
    return Examination(servers, CHECKS, LIMIT_SECONDS).run()


def as_json_object(findings: Mapping[str, Finding], seconds: float) -> dict[str, object]:
    """For programs."""
    return {
        "ok": all(one.state is not State.FAILED for one in findings.values()),
        "seconds": round(seconds, 3),
        "checks": [
            {
                "name": name,
                "state": one.state.value,
                "text": one.text,
                "see": f"{FOLDER}/{one.see.value}" if one.see else None,
            }
            for name, one in findings.items()
        ],
    }


def _print(findings: Mapping[str, Finding], seconds: float) -> None:
    width = max(map(len, findings))
    for name, one in findings.items():
        state = typer.style(f"{WORDS[one.state]:<7}", fg=COLOURS[one.state])
        typer.echo(f"{state}  {name:<{width}}  {one_line(one.text)}")
        if one.see is not None:
            typer.echo(f"{'':<{width + 11}}see {FOLDER}/{one.see.value}")
    counts = {state: sum(one.state is state for one in findings.values()) for state in State}
    said = ", ".join(f"{count} {WORDS[state].lower()}" for state, count in counts.items() if count)
    typer.echo(f"{said} in {seconds:.1f} s")
