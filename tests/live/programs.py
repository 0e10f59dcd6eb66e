"""Programs that tests need beside our own; in CI a run without one has failed."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def find_program(name: str, package: str) -> str:
    """Path of a program of Debian's `package`."""
    # Servers stand in a folder that is not on every user's path.
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        cannot_run(f"no {name}: install Debian's package {package}")
    return found


def cannot_run(why: str) -> NoReturn:
    """Skip the test on a developer's machine, fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
