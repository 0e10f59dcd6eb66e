"""`analytics publish`: events into the system, exactly as any NATS producer would."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer
from nats.errors import Error as NatsError

from cli.refusal import Refused
from cli.servers import connect_nats, read_settings
from config.names import COMPANY_ID_PATTERN
from config.subjects import covers

SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


def publish(
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="For example metrics.calculated.")
    ],
    payload: Annotated[
        str | None, typer.Argument(metavar="JSON", help="The event, one JSON object.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("-f", "--file", help="One event a line; - is standard input.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Publish JSON this many times.")] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.01, help="Events a second; default: as fast as it goes.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Publish whatever it is, unchecked.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Publish events on a subject and wait until the server has them."""
    if (payload is None) == (file is None):
        raise typer.BadParameter("give the event as JSON, or a file of events with -f")
    if not SUBJECT.fullmatch(subject):
        raise typer.BadParameter("a subject is words joined by dots, without blanks, * and >")
    settings = read_settings()
    if not any(covers(one, subject) for one in settings.subjects):
        print(
            f"note: nobody listens to {subject}; events are {', '.join(settings.subjects)}",
            file=sys.stderr,
        )
    if payload is not None:
        events: Iterator[bytes] = repeat(payload.encode() if raw else _checked(payload), count)
    else:
        events = _lines(str(file), raw)
    began = perf_counter()
    published = asyncio.run(_publish(settings.nats_url.get_secret_value(), subject, events, rate))
    seconds = perf_counter() - began
    if as_json:
        print(
            json.dumps({"subject": subject, "published": published, "seconds": round(seconds, 3)})
        )
    else:
        noun = "event" if published == 1 else "events"
        print(f"published {published} {noun} on {subject} in {seconds:.2f} s")


async def _publish(url: str, subject: str, events: Iterator[bytes], rate: float | None) -> int:
    client = await connect_nats(url)
    published = 0
    try:
        began = perf_counter()
        for event in events:
            if rate is not None:
                await asyncio.sleep(max(0.0, began + published / rate - perf_counter()))
            await client.publish(subject, event)
            published += 1
        await client.flush()
    except (NatsError, TimeoutError) as error:
        raise Refused(
            f"NATS took {published} events, then refused: {error or type(error).__name__}"
        ) from None
    except Refused as refusal:
        await client.flush()
        raise Refused(f"{refusal} ({published} published before it)") from None
    finally:
        await client.close()
    return published


def _lines(name: str, raw: bool) -> Iterator[bytes]:
    try:
        with sys.stdin.buffer if name == "-" else Path(name).open("rb") as stream:
            for number, line in enumerate(stream, 1):
                event = line.rstrip(b"\r\n")
                if not event.strip():
                    continue
                yield event if raw else _checked(event, f"line {number}: ")
    except OSError as error:
        raise Refused(f"{name}: {error.strerror or error}") from None


def _checked(event: str | bytes, place: str = "") -> bytes:
    """The event as bytes.

    Raises:
        Refused: not a JSON object; nothing else can ever be an event.
    """
    try:
        value = json.loads(event, parse_constant=_refuse_constant)
    except ValueError as error:
        raise Refused(f"{place}not JSON: {error}; --raw publishes it all the same") from None
    if not isinstance(value, dict):
        raise Refused(f"{place}an event is a JSON object; --raw publishes it all the same")
    if not _names_company(value):
        print(f"note: {place}no valid companyId, so this goes to the dead letters", file=sys.stderr)
    return event.encode() if isinstance(event, str) else event


def _names_company(event: dict[str, Any]) -> bool:
    inner = event.get("data")
    for fields in (event, inner if isinstance(inner, dict) else {}):
        company = fields.get("companyId")
        if isinstance(company, str) and re.fullmatch(COMPANY_ID_PATTERN, company):
            return True
    return False


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
