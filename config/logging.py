"""Logging for every process: one record a line on standard error, named by its service.

    [analytics] WARNING: dead letter event=metrics.calculated-7-1699999999999 reason=not_json time=…

The message comes first and is for people; what programs look for follows as `key=value`, the way
logfmt writes it. A plain line of information has no fields and is the message alone.
"""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

# The request that a record belongs to: set by the HTTP server for each request, and inherited by
# every task and timer that the request starts.
REQUEST_ID: Final[ContextVar[str]] = ContextVar("request_id", default="")

_PLAIN_VALUE = re.compile(r"[^\s\"=\\]+")


def configure_logging(service: str, level: int = logging.INFO) -> None:
    """Write records as `[service] message key=value…`; warnings and errors with their level."""
    handler = logging.StreamHandler()
    handler.setFormatter(_ServiceFormatter(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "clickhouse_connect", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The pool reports each attempt of an outage; whoever uses it says once what is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def fields(**values: object) -> dict[str, dict[str, object]]:
    """`extra` of a log call: what the record is about, e.g. `event=`, `company=`, `reason=`."""
    return {"fields": values}


class _ServiceFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        values = dict(getattr(record, "fields", {}))
        if request := REQUEST_ID.get():
            values.setdefault("request", request)
        # Lines of start and stop are read as they are, and documented so.
        if values or level:
            moment = datetime.fromtimestamp(record.created, UTC)
            values["time"] = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        pairs = "".join(f" {name}={_quoted(value)}" for name, value in values.items())
        # A producer's words may stand in a message: they must not make a line of their own.
        message = record.getMessage().replace("\n", "\\n").replace("\r", "\\r")
        line = f"[{self._service}] {level}{message}{pairs}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _quoted(value: object) -> str:
    text = str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
