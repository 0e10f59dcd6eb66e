"""The two programs in C, compiled when they are asked for."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

from benchmarks.streaming.process import SetupError

SOURCES = Path(__file__).parent
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


@cache
def binary(name: str, folder: Path) -> Path:
    """`<name>.c` of this package, compiled into `folder` once a call.

    Raises:
        SetupError: there is no compiler, or it refuses.
    """
    target = folder / name
    command = ["cc", *FLAGS, "-o", str(target), str(SOURCES / f"{name}.c")]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SetupError("no C compiler: install one that is called `cc`") from None
    except subprocess.CalledProcessError as error:
        raise SetupError(f"{name}.c: {error.stderr.strip()}") from None
    return target
