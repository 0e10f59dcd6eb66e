"""Start the embedded ClickHouse: `python -m embedded.clickhouse --data DIR --port 8123`.

Prints `ready http://HOST:PORT` on stdout when it answers. Exit codes: 0 after SIGTERM or SIGINT,
2 with one line on stderr when the folder or the port can't be had, 1 when the engine can't open.
"""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from embedded.clickhouse.folder import StartError, listen, lock_folder

PR_SET_PDEATHSIG = 1


def main() -> int:
    """Run until stopped; returns the exit code."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    if arguments.die_with_parent:
        _die_with_parent(arguments.die_with_parent)
    # The engine takes its time zone from the process, once, when it is loaded.
    os.environ["TZ"] = "UTC"
    time.tzset()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    try:
        lock = lock_folder(arguments.data)
        listener = listen(arguments.host, arguments.port)
    except StartError as error:
        print(error, file=sys.stderr)
        return 2
    with lock, listener:
        # Loading the engine takes 0.3 s: not before it is known that it can run.
        from embedded.clickhouse.app import App
        from embedded.clickhouse.engine import Engine
        from embedded.clickhouse.server import Server

        try:
            engine = Engine(arguments.data, arguments.memory_mb, arguments.backups)
        except RuntimeError as error:
            print(f"The engine can't open {arguments.data}: {error}", file=sys.stderr)
            return 1
        app = App(engine)
        try:
            Server(app, listener).serve_forever()
        finally:
            if app.idle():
                engine.close()
            # A query that did not end when killed would keep its thread, and so the process.
            sys.stdout.flush()
            os._exit(0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m embedded.clickhouse", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of this server alone")
    parser.add_argument("--backups", type=Path, help="folder of its disk backups, DIR/backups")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    parser.add_argument("--memory-mb", type=int, default=2048, help="bound of all queries together")
    parser.add_argument(
        "--die-with-parent",
        action="store_const",
        const=os.getppid(),
        help="stop when the parent's thread that started this process ends (Linux)",
    )
    return parser.parse_args()


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _die_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the parent dies; exit if it died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(0)


if __name__ == "__main__":
    raise SystemExit(main())
