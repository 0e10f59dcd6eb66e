"""What a supervised process is, as data: how to start it, when it is ready, how it stops."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SystemUser:
    """The account a process is started under. `name` has an entry in the password database."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Part:
    """One process.

    `ready` makes one attempt, takes at most a second and never raises. `prepare` runs before the
    first start, in a thread. `after` names parts and steps that must be ready before it starts;
    the same edges, backwards, are the order of stopping.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    after: tuple[str, ...] = ()
    prepare: Callable[[], None] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    user: SystemUser | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 4.0
    ready_seconds: float = 60.0


@dataclass(frozen=True)
class Step:
    """Work that is done once, in a thread, when all of `after` are ready."""

    name: str
    run: Callable[[], str]
    after: tuple[str, ...] = ()
