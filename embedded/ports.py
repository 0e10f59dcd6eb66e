"""Ports on this machine: choose a free one, name the setting of one that is taken."""

from __future__ import annotations

import socket
from collections.abc import Mapping


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def taken(host: str, port: int) -> bool:
    """Whether the address can't be bound. A server on the wildcard address counts too."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As servers do: a connection that lingers in TIME_WAIT is not a conflict.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


def conflicts(wanted: Mapping[str, tuple[str, int]]) -> list[str]:
    """One line for each setting (name → host, port) whose port can't be had."""
    lines = []
    named_by: dict[int, str] = {}
    for setting, (host, port) in wanted.items():
        example = f"{setting}={10_000 + port if port < 50_000 else port - 10_000}"
        if port in named_by:
            lines.append(f"{named_by[port]} and {setting} are both {port}; set one to another port")
        elif taken(host, port):
            lines.append(
                f"port {port} is in use; set {setting} to another one, e.g. `make up {example}`"
            )
        named_by[port] = setting
    return lines
