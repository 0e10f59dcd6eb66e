"""`analytics dlq`: dead letters by the sidecar's API.

By the API and not on the servers: who may decide, what is accepted and what is written stays in one
place, and a decision carries the name in the token.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import httpx
import typer

from cli.refusal import Refused, one_line
from cli.servers import START_IT, read_settings
from cli.token import sign_token
from config import Settings
from config.addresses import api_url
from events.accept import Reason

app = typer.Typer(
    name="dlq",
    help="Dead letters: list, show, replay, discard.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

TOKEN_SECONDS = 3600
# A call decides about 1,000 letters at most; each may be read from the stream and stored.
TIMEOUT_SECONDS = 120
ADMIN_ROLE = "system_admin"
SHOWN_RESULTS = 20

Token = Annotated[
    str | None,
    typer.Option(
        envvar="ANALYTICS_TOKEN", help="Bearer token of an admin; default: signed with JWT_SECRET."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


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
    answer = Api(read_settings(), token).call("GET", "", params=given)
    if as_json:
        print(json.dumps(answer))
        return
    for letter in answer["letters"]:
        print(
            f"{letter['receivedAt']}  {letter['reason']:<20}  {letter['companyId'] or '-':<16}  "
            f"{letter['id']}  {one_line(letter['detail'])[:100]}"
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
    letter = Api(read_settings(), token).call("GET", f"/{letter_id}")
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
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    reason: Annotated[Reason | None, typer.Option(help="All open ones of this reason.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All open ones.")] = False,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Decide again on open letters and store what is accepted now; repeating it does no harm."""
    _check_choice(ids, reason, every)
    body = _choice(ids, reason) | ({"all": True} if every else {})
    api = Api(read_settings(), token)
    total: dict[str, Any] = {"examined": 0, "accepted": 0, "rejected": 0, "refused": 0}
    results: list[dict[str, Any]] = []
    closed: list[str] = []
    for answer in api.pages("/replay", body):
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
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    reason: Annotated[Reason | None, typer.Option(help="All open ones of this reason.")] = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Take open letters off the list for good; they stay readable as discarded."""
    _check_choice(ids, reason)
    api = Api(read_settings(), token)
    discarded, closed = 0, []
    for answer in api.pages("/discard", _choice(ids, reason) | {"why": why}):
        discarded += answer["discarded"]
        closed += answer.get("notOpen", [])
    if as_json:
        print(json.dumps({"discarded": discarded, "notOpen": closed}))
        return
    for one_id in closed:
        print(f"{'not open':<10}{one_id}")
    print(f"discarded {discarded}")


class Api:
    """The sidecar's `/dlq`, with a token where one is needed."""

    def __init__(self, settings: Settings, token: str | None) -> None:
        self._address = f"{api_url(settings)}/dlq"
        if token is None and settings.jwt_secret is not None:
            user = f"cli:{getpass.getuser()}"
            token = sign_token(settings, None, user, ADMIN_ROLE, TOKEN_SECONDS)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(timeout=TIMEOUT_SECONDS, headers=headers)

    def call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The answer's JSON.

        Raises:
            Refused: no answer, or an error with the server's own message.
        """
        try:
            response = self._client.request(method, f"{self._address}{path}", **request)
        except httpx.TransportError as error:
            raise Refused(
                f"the API does not answer at {self._address}; {START_IT} or set PORT_ANALYTICS "
                f"({error or type(error).__name__})"
            ) from None
        if response.is_success:
            answer: dict[str, Any] = response.json()
            return answer
        try:
            message = str(response.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = response.reason_phrase
        raise Refused(f"the API answered {response.status_code}: {message}")

    def pages(self, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The answers of as many calls as it takes."""
        while True:
            answer = self.call("POST", path, json=body)
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
