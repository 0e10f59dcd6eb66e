"""What `make up` shows once everything answers: where things are, and what to try next."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from config.addresses import LOOPBACK
from config.settings import Settings
from embedded.addresses import Addresses
from embedded.demo.people import COMPANIES, cohorts

GUIDE_COMPANY = "test-company"


def table(addresses: Addresses, environ: Mapping[str, str]) -> str:
    """The table. `environ` is the caller's: settings that stand only there go before commands."""
    settings = addresses.settings
    api = addresses.api_url
    data = _shown(settings.analytics_data)
    company = COMPANIES[0].id if settings.demo else GUIDE_COMPANY
    rows = [
        ("Dashboard", f"{api}/"),
        ("API", f"{api}/health   metrics: {api}/metrics"),
        ("Dagster", f"{addresses.dagster_url}/"),
        ("ClickHouse", f"http://{LOOPBACK}:{settings.clickhouse_port}/   user default or teei"),
        ("NATS", f"nats://{LOOPBACK}:{settings.nats_port}"),
        ("Postgres", settings.database_url.get_secret_value()),
        ("Data", f"{data}   logs: {data}/logs"),
    ]
    cli = _shown(Path(sys.executable).parent / "analytics")
    event = f'{{"companyId":"{company}","metricName":"integration_score","value":0.85}}'
    tries = [  # commands to read and paste; nothing here reaches a database
        f'curl -N "{api}/stream/updates?companyId={company}"',
        f"{_set(environ, 'NATS_PORT')}{cli} publish metrics.calculated {shlex.quote(event)}",
        f'{_set(environ, "CLICKHOUSE_PORT")}{cli} query "SELECT count() FROM events"',  # noqa: S608
        f"{_set(environ, 'POSTGRES_PORT')}{cli} psql",
    ]
    if settings.demo:
        tries.append(
            f'curl "{api}/cohort/{cohorts(company)[0].id}/trends'
            f'?companyId={company}&metric=integration_score"'
        )
    lines = [f"  {name:<11} {value}" for name, value in rows]
    lines += ["", "  Try next, in another terminal:", *(f"    {one}" for one in tries), ""]
    lines.append(_next(settings, api))
    return "\n".join(lines)


def _next(settings: Settings, api: str) -> str:
    shows = "the demo's events move there" if settings.demo else "publish an event to see it there"
    return f"Open {api}/ ({shows}). Ctrl-C stops everything; the data stays."


def _shown(path: Path) -> str:
    """Relative to the current folder where it is inside of it: shorter, and ready to paste."""
    path = path.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _set(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name)
    return f"{name}={value} " if value else ""
