"""`analytics up`: the whole system on this machine."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from cli.refusal import Refused

# Of the extra `embedded`, what nothing on PATH can stand in for; names as they are imported.
NEEDED = ("chdb", "psutil")


def up() -> None:
    """Start the whole system; Ctrl-C stops it.

    Postgres, NATS, ClickHouse, the sidecar, Dagster and a demo producer.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise Refused(
            f"the embedded backend is not installed ({', '.join(missing)} missing); "
            "install it with `pip install 'impact-analytics[embedded]'`, or run `make up`"
        )
    # The supervisor takes this process over, so that signals reach it and no one else.
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "embedded"])  # noqa: S606
