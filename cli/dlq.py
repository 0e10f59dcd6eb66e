"""`analytics dlq`: dead letters by the sidecar's API.

By the API and not on the servers: who may decide, what is accepted and what is written stays in one
place, and a decision carries the name in the token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.api import Api, AsJson, Token
from cli.refusal import one_line
from cli.servers import read_settings
from cli.table import text_table
from events.accept import Reason

app = typer.Typer(
    name="dlq",
    help="Dead letters: list, show, replay, discard.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

SHOWN_RESULTS = 20


class State(StrEnum):
    """What was decided about a letter."""

    OPEN = "open"
    REPLAYED = "replayed"
    DISCARDED = "discarded"
    ALL = "all"


@app.command("list")
def list_letters(
    reason: Annotated[Reason | None, typer.Option(help="Only these.")] = None,
    company: Annotated[str | None, typer.Option(help="Only this company's.")] = None,
    state: Annotated[State, typer.Option(help="What was decided.")] = State.OPEN,
    since: Annotated[str | None, typer.Option(help="Stream time, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(help="Stream time, included.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The newest so many.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind the page before.")] = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first, and count them by reason."""
    parameters = {
        "reason": reason and reason.value,
        "companyId": company,
        "state": state.value,
        "since": since,
        "until": until,
        "limit": limit,
        "cursor": cursor,
    }
    given = {name: value for name, value in parameters.items() if value is not None}
    answer = _api(token).call("GET", "", params=given)
    if as_json:
        print(json.dumps(answer))
        return
    if answer["letters"]:
        print(
            text_table(
                ("RECEIVED (UTC)", "REASON", "COMPANY", "ID", "DETAIL"),
                [
                    (
                        *(letter["receivedAt"][:19].replace("T", " "), letter["reason"]),
                        *(letter["companyId"], letter["id"], letter["detail"][:100]),
                    )
                    for letter in answer["letters"]
                ],
            )
        )
    counts = ", ".join(f"{name} {count}" for name, count in answer["counts"].items())
    print(f"{answer['total']} in all: {counts}" if counts else "no dead letters")
    if "nextCursor" in answer:
        print(f"more with --cursor {answer['nextCursor']}")


@app.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="ID", help="As it is listed.")],
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one letter with what the producer sent."""
    letter = _api(token).call("GET", f"/{letter_id}")
    if as_json:
        print(json.dumps(letter))
        return
    raw = letter.pop("raw")
    for name, value in letter.items():
        print(f"{name:<12}{'-' if value is None else value}")
    if raw is not None:
        print(raw["text"] if raw["text"] is not None else f"base64      {raw['base64']}")


@app.command()
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID")] = None,
    reason: Annotated[Reason | None, typer.Option(help="All open ones of this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All open ones.")] = False,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Decide again on open letters. What is accepted now is stored; repeating it does no harm."""
    _check_choice(ids, reason, every)
    body = _choice(ids, reason) | ({"all": True} if every else {})
    api = _api(token)
    total: dict[str, Any] = {"examined": 0, "accepted": 0, "rejected": 0, "refused": 0}
    results: list[dict[str, Any]] = []
    closed: list[str] = []
    for answer in _pages(api, "/replay", body):
        for name in total:
            total[name] += answer[name]
        results += [one for one in answer["results"] if one["outcome"] != "accepted"]
        closed += answer.get("notOpen", [])
    if as_json:
        print(json.dumps(total | {"notAccepted": results, "notOpen": closed}))
        return
    for one in results[:SHOWN_RESULTS]:
        why = " ".join(filter(None, (one.get("reason"), one.get("detail"))))
        print(f"{one['outcome']:<10}{one['id']}  {one_line(why)[:120]}")
    if len(results) > SHOWN_RESULTS:
        print(f"… and {len(results) - SHOWN_RESULTS} more; --json names them all")
    for one_id in closed:
        print(f"{'not open':<10}{one_id}")
    print(", ".join(f"{name} {count}" for name, count in total.items()))


@app.command()
def discard(
    why: Annotated[str, typer.Option(help="Kept with the letters.")],
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID")] = None,
    reason: Annotated[Reason | None, typer.Option(help="All open ones of this reason.")] = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take open letters off the list for good. They stay readable."""
    _check_choice(ids, reason)
    api = _api(token)
    discarded, closed = 0, []
    for answer in _pages(api, "/discard", _choice(ids, reason) | {"why": why}):
        discarded += answer["discarded"]
        closed += answer.get("notOpen", [])
    if as_json:
        print(json.dumps({"discarded": discarded, "notOpen": closed}))
        return
    for one_id in closed:
        print(f"{'not open':<10}{one_id}")
    print(f"discarded {discarded}")


def _api(token: str | None) -> Api:
    return Api(read_settings(), "/dlq", token)


def _pages(api: Api, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The answers of as many calls as it takes."""
    while True:
        answer = api.call("POST", path, json=body)
        yield answer
        if "nextCursor" not in answer:
            return
        body = body | {"cursor": answer["nextCursor"]}


def _check_choice(ids: list[str] | None, reason: Reason | None, every: bool = False) -> None:
    if [bool(ids), reason is not None, every].count(True) != 1:
        raise typer.BadParameter("give ids, or --reason" + (", or --all" if not every else ""))


def _choice(ids: list[str] | None, reason: Reason | None) -> dict[str, Any]:
    if ids:
        return {"ids": ids}
    # Fixed for all pages: what comes in meanwhile is for another time.
    until = {"until": datetime.now(UTC).isoformat()}
    return until | ({"reason": reason.value} if reason is not None else {})
