"""The requests that are running or waiting, and how one of them is cancelled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from embedded.clickhouse.errors import (
    QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    refuse,
)

WORKERS = 16  # requests inside the engine at once; each has a thread and a connection
WAITING = 256  # requests that wait for a worker; one more is answered 503


@dataclass
class Ticket:
    """One admitted request: `mark` finds its queries in the engine, `cancelled` stops it here."""

    query_id: str
    mark: int
    cancelled: bool = field(default=False)


class Running:
    """Admission. `admit` and `leave` are called on the event loop, the rest from any thread."""

    def __init__(self) -> None:
        self._tickets: dict[str, Ticket] = {}
        self._marks = itertools.count(1)

    def admit(self, query_id: str, *, even_when_full: bool = False) -> Ticket:
        """Raises ServerError when the house is full or the id is in use."""
        if len(self._tickets) >= WORKERS + WAITING and not even_when_full:
            raise refuse(
                TOO_MANY_SIMULTANEOUS_QUERIES,
                "TOO_MANY_SIMULTANEOUS_QUERIES",
                f"Too many simultaneous queries. Maximum: {WORKERS} running, {WAITING} waiting.",
            )
        if query_id in self._tickets:
            raise refuse(
                QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING,
                "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING",
                f"Query with id = {query_id} is already running.",
            )
        ticket = Ticket(query_id, next(self._marks))
        self._tickets[query_id] = ticket
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """The request has ended."""
        del self._tickets[ticket.query_id]

    def all(self) -> list[Ticket]:
        """A copy of the tickets, oldest first."""
        return list(self._tickets.values())
