"""One process owns a data folder at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Refused(Exception):
    """Can't start here; each line says what to change."""


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Make and lock the folder. The kernel drops the lock however the process ends.

    Raises:
        Refused: another process has it, or it can't be made.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise Refused(f"ANALYTICS_DATA: can't use {data}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise Refused(
                f"{data} is in use by another `make up` (process {holder}); stop that one, "
                "or set ANALYTICS_DATA to another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
