"""Runs all checks side by side, each behind those it needs, and ends in time whatever hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from cli.doctor.check import Check, Finding, Half, State, failed
from cli.doctor.servers import Servers
from cli.refusal import Refused, one_line

# A server that says nothing is noticed after 3 to 6 s; what needs it is skipped then.
LIMIT_SECONDS = 8.0


class Examination:
    """One run of `checks`; every check gets a finding within `limit_seconds`."""

    def __init__(self, servers: Servers, checks: Sequence[Check], limit_seconds: float) -> None:
        self._servers = servers
        self._checks = checks
        self._limit_seconds = limit_seconds
        self._findings: dict[str, Finding] = {}
        self._changed = threading.Condition()

    def run(self) -> dict[str, Finding]:
        """Check → what it found, in the order of the checks."""
        deadline = time.monotonic() + self._limit_seconds
        for check in self._checks:
            # Not a pool: that would wait at the end for a call that never returns.
            threading.Thread(target=self._examine, args=(check,), daemon=True).start()
        with self._changed:
            while len(self._findings) < len(self._checks):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            found = dict(self._findings)
        return {
            check.name: found.get(check.name) or self._late(check, found) for check in self._checks
        }

    def _examine(self, check: Check) -> None:
        finding = self._skipped(check) or _look(check, self._servers)
        with self._changed:
            self._findings[check.name] = finding
            self._changed.notify_all()

    def _skipped(self, check: Check) -> Finding | None:
        """Wait for what the check needs; a finding when it can't be looked at."""
        settings = self._servers.settings
        if check.half is Half.WAREHOUSE and not settings.clickhouse_enabled:
            return Finding(State.SKIPPED, f"{check.half} is false")
        if check.half is Half.STREAMING and not settings.streaming_enabled:
            return Finding(State.SKIPPED, f"{check.half} is false")
        with self._changed:
            self._changed.wait_for(lambda: self._findings.keys() >= set(check.needs))
            broken = [
                name
                for name in check.needs
                if self._findings[name].state in {State.FAILED, State.SKIPPED}
            ]
        if broken:
            return Finding(State.SKIPPED, f"not looked at: see {', '.join(broken)}")
        return None

    def _late(self, check: Check, found: Mapping[str, Finding]) -> Finding:
        waited_for = [name for name in check.needs if name not in found]
        if waited_for:
            return Finding(State.SKIPPED, f"not looked at: see {', '.join(waited_for)}")
        return failed(f"no answer within {self._limit_seconds:g} s", check.see)


def _look(check: Check, servers: Servers) -> Finding:
    try:
        return check.run(servers)
    except Refused as refusal:
        return failed(str(refusal), check.see)
    except Exception as error:  # one check must not take the others' findings away
        words = one_line(error) or "no message"
        return failed(f"could not be looked at: {type(error).__name__}: {words}", check.see)
