"""`python -m embedded`: the whole system in one command, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable
from pathlib import Path

from config import SettingsError
from config.settings import read_variables
from embedded import live, plan, screen
from embedded.addresses import Addresses, derive
from embedded.child import ChildError
from embedded.data_folder import Refused, locked
from embedded.leftovers import TOKEN_VARIABLE, ProcessRecords
from embedded.ports import conflicts
from embedded.supervisor import Supervisor, SupervisorError

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
CAN_NOT_START = 2
FAILED = 1


def main() -> int:
    """Exit code: 0 stopped on request, 1 a part failed for good, 2 could not start."""
    try:
        environ = dict(os.environ)
        addresses = derive(read_variables(environ, Path(".env")))
        data = addresses.settings.analytics_data.absolute()
        with locked(data):
            return asyncio.run(_up(addresses, data, environ))
    except (SettingsError, Refused, ChildError) as error:
        print(error, file=sys.stderr)
        return CAN_NOT_START
    except SupervisorError as error:
        print(f"stopped, because of {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:  # before the signal handlers stood
        return 0


async def _up(addresses: Addresses, data: Path, environ: dict[str, str]) -> int:
    logs = data / "logs"
    _keep_last_logs(logs)
    (data / "run").mkdir(exist_ok=True)
    records = ProcessRecords(data / "run" / "processes.json")
    ended = await asyncio.to_thread(records.end_leftovers)
    if ended:
        _say(f"  ended what an earlier start left running: {', '.join(ended)}")
    taken = conflicts(addresses.wanted_ports)
    if taken:
        raise Refused("\n".join(taken))
    whole = plan.whole(addresses)
    for note in whole.notes:
        _say(f"  {note}")
    supervisor = Supervisor(
        whole.parts,
        whole.steps,
        logs=logs,
        # Unbuffered, so that a log's last line is there when a process is killed.
        environment={
            **environ,
            **addresses.variables,
            "PYTHONUNBUFFERED": "1",
            TOKEN_VARIABLE: records.token,
        },
        records=records,
        say=_say,
    )
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, _stop, supervisor)
    _say(f"starting in {addresses.settings.analytics_data} (logs: {logs})")
    await supervisor.run(beside=_shows(supervisor, addresses, environ))
    _say(f"stopped; the data stays in {addresses.settings.analytics_data}. `make up` goes on.")
    return 0


def _shows(
    supervisor: Supervisor, addresses: Addresses, environ: dict[str, str]
) -> list[Awaitable[None]]:
    """The table once all answer; the first event as soon as there is one, then what goes on.

    Two, not a task group of them: that would hand only the first cancellation on, which may be lost
    (`config.tasks`).
    """
    tabled = asyncio.Event()

    async def show_table() -> None:
        await supervisor.wait_ready()
        _say(f"\nready in {supervisor.seconds():.1f} s\n\n{screen.table(addresses, environ)}\n")
        tabled.set()

    def first(event: str) -> None:
        _say(f"  {'first event':<16}        {supervisor.seconds():5.1f} s  {event}")

    def later(line: str) -> None:
        if tabled.is_set():
            _say(line)

    async def show_events() -> None:
        await supervisor.wait_ready("sidecar")
        settings = addresses.settings
        await live.watch(
            settings.nats_url.get_secret_value(),
            (addresses.api_host, settings.port_analytics),
            later,
            first,
        )

    return [show_table(), show_events()]


def _stop(supervisor: Supervisor) -> None:
    if not supervisor.stopping:
        _say("\nstopping ...")
        supervisor.stop()


def _keep_last_logs(logs: Path) -> None:
    """One older generation: what explains the last stop stays, and no log grows for ever."""
    logs.mkdir(exist_ok=True)
    for log in logs.glob("*.log"):
        log.replace(log.with_suffix(".log.1"))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
