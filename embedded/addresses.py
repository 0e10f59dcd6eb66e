"""Settings of one `make up`: its ports made definite, its addresses derived from them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from config import Settings, SettingsError, load_settings
from config.addresses import LOOPBACK, with_embedded_ports
from embedded.ports import free_port

# Setting of an address → what `make up` derives it from.
DERIVED = {
    "NATS_URL": "NATS_PORT",
    "DATABASE_URL": "POSTGRES_PORT",
    "CLICKHOUSE_HOST": "CLICKHOUSE_PORT",
    "CLICKHOUSE_SECURE": "CLICKHOUSE_PORT",
}
PORTS = ("PORT_ANALYTICS", "DAGSTER_PORT", "CLICKHOUSE_PORT", "NATS_PORT", "POSTGRES_PORT")


@dataclass(frozen=True)
class Addresses:
    """`variables` are what children get on top of our environment; `settings` says the same."""

    settings: Settings
    variables: Mapping[str, str]

    @property
    def api_host(self) -> str:
        """Where the sidecar is reached from this machine."""
        host = self.settings.host_analytics
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return host
        if not address.is_unspecified:
            return host
        return LOOPBACK if address.version == 4 else "::1"

    @property
    def api_url(self) -> str:
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return f"http://{host}:{self.settings.port_analytics}"

    @property
    def dagster_url(self) -> str:
        return f"http://{LOOPBACK}:{self.settings.dagster_port}"

    @property
    def wanted_ports(self) -> dict[str, tuple[str, int]]:
        """Setting → host and port that must be free."""
        values = {name: int(getattr(self.settings, name.lower())) for name in PORTS}
        return {
            name: (self.settings.host_analytics if name == "PORT_ANALYTICS" else LOOPBACK, port)
            for name, port in values.items()
        }


def derive(values: Mapping[str, str]) -> Addresses:
    """Addresses from the variables that are set (`config.settings.read_variables`).

    Raises:
        SettingsError: an address is set as well, or a value can't be used.
    """
    doubled = [
        f"{name} is set, but `make up` runs its own server and derives it from {port}; "
        f"unset {name} (environment and .env)"
        for name, port in DERIVED.items()
        if name in values
    ]
    if doubled:
        raise SettingsError("\n".join(doubled))
    # 0 means any: chosen now, because a part that is started again must keep its address.
    chosen = {name: str(free_port()) for name in PORTS if values.get(name) == "0"}
    settings = load_settings(with_embedded_ports({**values, **chosen}), None)
    variables = {
        "NATS_URL": settings.nats_url.get_secret_value(),
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "CLICKHOUSE_HOST": settings.clickhouse_host,
        "CLICKHOUSE_SECURE": "false",
        "ANALYTICS_DATA": str(settings.analytics_data.absolute()),
        **{name: str(getattr(settings, name.lower())) for name in PORTS},
    }
    return Addresses(settings, variables)
