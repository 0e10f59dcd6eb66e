"""How a command says no."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


class Refused(Exception):
    """A command can't do what was asked; `str()` is one line: what was wrong and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: object) -> str:
    """The text with all white space, line breaks too, made single blanks."""
    return " ".join(str(text).split())


def without_credentials(url: str) -> str:
    """The URL as it may be shown: without user and password, also in a comma list of servers."""
    shown = []
    for part in url.split(","):
        pieces = urlsplit(part)
        host = pieces.netloc.rpartition("@")[2]
        shown.append(urlunsplit((pieces.scheme, host, pieces.path, "", "")))
    return ",".join(shown)
