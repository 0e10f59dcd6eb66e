"""Errors that pass by themselves, by name; only these make a step run again.

Everything else fails at once: repeating a bug costs minutes and hides it. The flows' writes replace
themselves by their keys, so that a second attempt does no harm.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import psycopg
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError

RETRIES = 3
PAUSE_SECONDS = 10

# SQLSTATEs, https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRES_CLASSES = (
    "08",  # connection lost or refused
    "57P",  # the server is shutting down, crashed, or not up yet
)
POSTGRES_STATES = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "53300",  # too many connections
}
PASSING_REFUSALS = ("starting up", "shutting down", "recovery mode", "too many clients")
# Codes of ClickHouse's ErrorCodes.cpp.
CLICKHOUSE_CODES = {
    202,  # too many simultaneous queries
    209,  # socket timeout
    210,  # network error
    242,  # table is read only
    252,  # too many parts
}


def is_transient(error: BaseException) -> bool:
    """Whether the same call may succeed in some seconds."""
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        # Without a state the connection broke or was never made. While it is made, the server's own
        # words (a wrong password, an unknown database) come without a state too.
        words = str(error)
        return "FATAL:" not in words or any(passing in words for passing in PASSING_REFUSALS)
    if isinstance(error, psycopg.Error):
        state = error.sqlstate or ""
        return state in POSTGRES_STATES or state.startswith(POSTGRES_CLASSES)
    if isinstance(error, DatabaseError) and error.code is not None:
        return error.code in CLICKHOUSE_CODES
    # The client's name for a server that does not answer.
    return isinstance(error, OperationalError)


@contextmanager
def repeated_if_transient() -> Iterator[None]:
    """Around the work of a step.

    Raises:
        dagster.RetryRequested: for a transient error, which stays its cause; up to RETRIES times,
            then the error itself counts.
    """
    try:
        yield
    except (psycopg.Error, DatabaseError, OperationalError) as error:
        if is_transient(error):
            raise dg.RetryRequested(RETRIES, PAUSE_SECONDS) from error
        raise
