"""What one look found, and what a check is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cli.doctor.runbook import Entry
from cli.doctor.servers import Servers


class State(StrEnum):
    """`skipped`: could not be looked at, because of what another check says, or is switched off."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


class Half(StrEnum):
    """A half of the system that a setting switches off."""

    STREAMING = "STREAMING_ENABLED"
    WAREHOUSE = "CLICKHOUSE_ENABLED"


@dataclass(frozen=True)
class Finding:
    """One line: what is wrong and what to do, or what was seen. `see` is None where all is well."""

    state: State
    text: str
    see: Entry | None = None


@dataclass(frozen=True)
class Check:
    """A look at one thing.

    It is skipped when a check named in `needs` failed or was skipped, and when its `half` is off.
    `run` may raise `cli.refusal.Refused`, which is a failure with that text and `see`.
    """

    name: str
    run: Callable[[Servers], Finding]
    see: Entry
    needs: tuple[str, ...] = ()
    half: Half | None = None


def ok(text: str) -> Finding:
    """All is well; `text` is what was seen."""
    return Finding(State.OK, text)


def warning(text: str, see: Entry) -> Finding:
    """It works, and somebody should look."""
    return Finding(State.WARNING, text, see)


def failed(text: str, see: Entry) -> Finding:
    """It does not work."""
    return Finding(State.FAILED, text, see)
