"""Addresses of the embedded backend, derived from its ports in one place.

`make up` is told ports (`POSTGRES_PORT`, `NATS_PORT`, `CLICKHOUSE_PORT`), everything else is told
addresses (`NATS_URL`, `DATABASE_URL`, `CLICKHOUSE_HOST`). The supervisor and the command line both
go through here, so that a terminal which knows only the ports reaches the same servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from config.settings import Settings

# Not `localhost`: that may resolve to ::1 first, and the embedded servers listen on IPv4 only.
LOOPBACK: Final = "127.0.0.1"


def with_embedded_ports(values: Mapping[str, str]) -> dict[str, str]:
    """`values` (of `config.settings.read_variables`) with every address that is unset filled in.

    An address that is set stays as it is. A port that is not a number is carried along unchanged:
    `load_settings` then names the port's variable.
    """
    postgres_port = values.get("POSTGRES_PORT") or "5432"
    nats_port = values.get("NATS_PORT") or "4222"
    derived = {
        "NATS_URL": f"nats://{LOOPBACK}:{nats_port}",
        "DATABASE_URL": f"postgresql://teei@{LOOPBACK}:{postgres_port}/teei_platform",
        "CLICKHOUSE_HOST": LOOPBACK,
    }
    return derived | {name: value for name, value in values.items() if value}


def api_url(settings: Settings) -> str:
    """Where the sidecar is reached from this machine."""
    host = settings.host_analytics
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (not bound: translated to an address that answers)
        host = LOOPBACK
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port_analytics}"
