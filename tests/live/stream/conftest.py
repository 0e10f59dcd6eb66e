"""Both ways that a stream is answered, side by side on the same services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.settings import Settings
from tests.live.sidecar import PORTABLE, SidecarProcess

StartSidecars = Callable[..., list[SidecarProcess]]


@pytest.fixture
def start_sidecars(settings: Settings) -> Iterator[StartSidecars]:
    """Starts a sidecar of each named module, together; without the warehouse unless asked for."""
    started: list[SidecarProcess] = []

    def start(*modules: str, **variables: str) -> list[SidecarProcess]:
        extra = {"CLICKHOUSE_ENABLED": "false", **variables}
        processes = [SidecarProcess(settings, module, **extra) for module in modules]
        started.extend(processes)
        with ThreadPoolExecutor() as pool:
            list(pool.map(SidecarProcess.start, processes))
        return processes

    yield start
    with ThreadPoolExecutor() as pool:
        list(pool.map(SidecarProcess.stop, started))


@pytest.fixture
def start_both(start_sidecars: StartSidecars) -> StartSidecars:
    """A sidecar on our own protocol and one on the portable path."""

    def start(**variables: str) -> list[SidecarProcess]:
        return start_sidecars("stream_api", PORTABLE, **variables)

    return start
