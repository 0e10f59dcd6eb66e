"""Logging for every process: one line a record on standard error, named by its service."""

import logging


def configure_logging(service: str, level: int = logging.INFO) -> None:
    """Write records as `[service] message`; warnings and errors with their level named."""
    handler = logging.StreamHandler()
    handler.setFormatter(_ServiceFormatter(service))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "clickhouse_connect", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # The pool reports each attempt of an outage; whoever uses it says once what is away.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class _ServiceFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        level = "" if record.levelno <= logging.INFO else f"{record.levelname}: "
        line = f"[{self._service}] {level}{record.getMessage()}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line
