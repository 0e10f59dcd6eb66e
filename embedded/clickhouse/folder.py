"""What must be had before the engine is opened: the folder's lock and the port."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import IO


class StartError(Exception):
    """Why the process can't start, in one line."""


def lock_folder(folder: Path) -> IO[str]:
    """The lock on a data folder, held while the file is open. The kernel frees it on kill -9.

    Raises StartError when the folder is in use or can't be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise StartError(f"The data folder {folder} can't be used: {error.strerror}.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise StartError(
            f"The data folder {folder} is in use by another process (pid {owner})."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; clients wait in its backlog until the server is up.

    Raises StartError when the address can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise StartError(f"Can't listen on {host}:{port}: {error.strerror}.") from None
    return listener
