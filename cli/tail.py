"""`analytics tail`: a company's live events in the terminal."""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import httpx
import typer
from httpx_sse import ServerSentEvent, SSEError, connect_sse

from cli.refusal import Refused, one_line
from cli.servers import CONNECT_TIMEOUT_SECONDS, START_IT, read_settings
from cli.token import sign_token, valid_company
from config import Settings
from config.addresses import api_url
from config.names import SSE_EVENT_NAMES

EVENT_NAMES = tuple(sorted(set(SSE_EVENT_NAMES.values())))
FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 15.0
TOKEN_SECONDS = 3600
# Answers that may be another one in a moment; all others are final.
PASSING_STATUSES = frozenset({429, 500, 502, 503, 504})


def valid_types(value: str | None) -> str | None:
    """Callback of `--types`.

    Raises:
        typer.BadParameter: a name that no event has.
    """
    for name in value.split(",") if value else ():
        if name not in EVENT_NAMES:
            raise typer.BadParameter(f"{name!r} is not one of {', '.join(EVENT_NAMES)}")
    return value


def tail(
    company: Annotated[str, typer.Option(callback=valid_company, help="Company id.")],
    types: Annotated[
        str | None,
        typer.Option(callback=valid_types, help=f"Comma list of {', '.join(EVENT_NAMES)}."),
    ] = None,
    last_id: Annotated[
        str | None, typer.Option(help="Begin after this event, an id as it is printed here.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after this many events.")] = None,
    url: Annotated[
        str | None, typer.Option(help="The API; default by HOST_ANALYTICS, PORT_ANALYTICS.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="ANALYTICS_TOKEN", help="Bearer token; default: signed with JWT_SECRET if set."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="A JSON object an event: event, id, data.")
    ] = False,
) -> None:
    """Print events as they come.

    When the connection is cut it comes back behind the last one.
    """
    settings = read_settings()
    address = f"{url.rstrip('/') if url else api_url(settings)}/stream/updates"
    query = {"companyId": company} | ({"types": types} if types else {})
    events = follow(address, query, last_id, settings, token)
    for event in itertools.islice(events, count):
        print(_as_json(event) if as_json else _as_text(event), flush=True)


def follow(
    address: str, query: dict[str, str], last_id: str | None, settings: Settings, token: str | None
) -> Iterator[ServerSentEvent]:
    """Data events, over as many connections as it takes.

    Raises:
        Refused: no API at the first attempt, or an answer that another attempt can't change.
    """
    # Two heartbeats may be late; after the third the connection is dead, though nobody said so.
    timeout = httpx.Timeout(CONNECT_TIMEOUT_SECONDS, read=settings.stream_heartbeat_s * 3)
    failures = 0
    reached = False
    with httpx.Client(timeout=timeout) as client:
        while True:
            at_least = 0.0
            params = query | ({"lastEventId": last_id} if last_id else {})
            headers = _authorization(settings, query["companyId"], token)
            try:
                with connect_sse(client, "GET", address, params=params, headers=headers) as source:
                    at_least = _check(source.response)
                    for event in source.iter_sse() if source.response.is_success else ():
                        reached, failures = True, 0
                        last_id = event.id or last_id
                        if event.event in EVENT_NAMES and event.data:
                            yield event
                        else:
                            _tell(event, token)
                reason = "the server ended the stream"
            except (httpx.TransportError, SSEError) as error:
                if not reached:
                    raise Refused(
                        f"the API does not answer at {address}; {START_IT} or give --url "
                        f"({error or type(error).__name__})"
                    ) from None
                reason = one_line(error) or type(error).__name__
            delay = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**failures)
            delay = max(at_least, delay * random.uniform(0.5, 1))  # noqa: S311 (spreads load)
            failures = min(failures + 1, 10)
            _note(f"{reason}; connecting again in {delay:.1f} s")
            time.sleep(delay)


def _authorization(settings: Settings, company: str, token: str | None) -> dict[str, str]:
    if token is None and settings.jwt_secret is not None:
        # New for each connection, so that one that expired is followed by one that is valid.
        token = sign_token(settings, company, "cli", None, TOKEN_SECONDS)
    return {"Authorization": f"Bearer {token}"} if token else {}


def _check(response: httpx.Response) -> float:
    """Seconds to wait before another attempt; 0 for a stream.

    Raises:
        Refused: with the server's own message.
    """
    if response.is_success:
        return 0
    response.read()
    try:
        message = str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        message = response.reason_phrase
    if response.status_code not in PASSING_STATUSES:
        raise Refused(f"the API answered {response.status_code}: {message}")
    _note(f"the API answered {response.status_code}: {one_line(message)}")
    waits = response.headers.get("Retry-After", "")
    return float(waits) if waits.isdigit() else 0


def _tell(event: ServerSentEvent, token: str | None) -> None:
    """Say on standard error what happened; a block that holds only an id says nothing."""
    facts = json.loads(event.data) if event.data.startswith("{") else {}
    if event.event == "connected":
        _note(f"live, {facts.get('replayed', 0)} replayed")
    elif event.event == "reset":
        _note(f"events are missing: {facts.get('reason', 'unknown')}")
    elif event.event == "bye":
        reason = facts.get("reason", "closed")
        if reason == "token_expired" and token is not None:
            raise Refused("the token has expired; give a new one with --token")
        _note(f"the server says goodbye: {reason}")


def _as_json(event: ServerSentEvent) -> str:
    # The data stays as it was sent: numbers too large for a float would not survive a round trip.
    head = json.dumps({"event": event.event, "id": event.id})
    return f'{head[:-1]}, "data": {event.data}}}'


def _as_text(event: ServerSentEvent) -> str:
    milliseconds = event.id.rpartition("-")[2]
    when = "--:--:--.---"
    if milliseconds.isdigit():
        moment = datetime.fromtimestamp(int(milliseconds) / 1000).astimezone()
        when = moment.isoformat(timespec="milliseconds")[11:23]
    return f"{when}  {event.event:<20}  {event.id}  {event.data}"


def _note(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)
