"""`analytics erase`: a user or a company out of every store, after a look at what there is.

On the servers and not by the API: it is the operator's, and reaches what no route may touch.
"""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.pipelines import Servers, connected
from cli.progress import shown_progress
from cli.refusal import Refused
from pipelines.defs.retention.erasure import (
    Erased,
    count_subject,
    erase,
    find_companies,
    reapply_erasures,
    verify_erasures,
)
from pipelines.defs.retention.subject import Subject, SubjectError

app = typer.Typer(
    name="erase",
    help="Erase users and companies: user, company, reapply, verify.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object; asks nothing.")]
By = Annotated[str | None, typer.Option(help="Who asked for it; kept in the ledger.")]


@app.command()
def user(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="As events and platform say it.")],
    company: Annotated[
        str | None,
        typer.Option(help="Only there; needed for a user whom the platform does not know."),
    ] = None,
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a user. Without --yes what there is is shown and asked about."""
    with connected() as servers:
        companies = [company] if company else find_companies(servers[0], user_id)
        if not companies:
            raise Refused(f"the platform knows no user {user_id}: name the company by --company")
        _erase(servers, [subject_of(one, user_id) for one in companies], by, yes, as_json)


@app.command()
def company(
    company_id: Annotated[str, typer.Argument(metavar="COMPANY")],
    by: By = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a whole company. Without --yes what there is is shown and asked about."""
    with connected() as servers:
        _erase(servers, [subject_of(company_id, None)], by, yes, as_json)


@app.command()
def reapply(as_json: AsJson = False) -> None:
    """Apply the ledger again, after a restore. Repeating it does no harm."""
    with connected() as servers, shown_progress(as_json=as_json) as progress:
        done = reapply_erasures(*servers, progress=progress)
    _report(done, as_json)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Look for what was erased in all stores. Status 1 when something is left."""
    with connected() as servers, shown_progress(as_json=as_json) as progress:
        finds = verify_erasures(*servers, progress=progress)
    if as_json:
        print(json.dumps({"leftOver": finds}))
    else:
        for erasure_id, found in finds.items():
            print(f"{erasure_id}  {_counts(found)}")
    if finds:
        raise Refused(f"something is left of {len(finds)} erasures: `analytics erase reapply`")
    if not as_json:
        print("nothing is left")


def subject_of(company_id: str, user_id: str | None) -> Subject:
    """Whom the command is about.

    Raises:
        Refused: no company or user can have such an id.
    """
    try:
        return Subject(company_id, user_id)
    except SubjectError as error:
        raise Refused(str(error)) from None


def _erase(
    servers: Servers, subjects: list[Subject], by: str | None, yes: bool, as_json: bool
) -> None:
    if not yes:
        with shown_progress(as_json=as_json) as progress:
            found = {one: count_subject(*servers, one, progress) for one in subjects}
        if as_json:
            print(json.dumps({"dryRun": True, "found": [_found(*one) for one in found.items()]}))
            return
        for subject, counts in found.items():
            print(f"{_name(subject)}: {_counts(counts)}")
        # Also with nothing found: the ledger then keeps a later restore from bringing it back.
        if not typer.confirm("Erase this for good?"):
            raise Refused("nothing was erased")
    asked = by or f"cli:{getpass.getuser()}"
    now = datetime.now(UTC)
    with shown_progress(as_json=as_json) as progress:
        done = [
            erase(*servers, one, now, requested_by=asked, progress=progress) for one in subjects
        ]
    _report(done, as_json)


def _report(done: list[Erased], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"dryRun": False, "erased": [_erased(one) for one in done]}))
    else:
        for one in done:
            state = "nothing is left" if one.verified else f"LEFT: {_counts(one.left_over)}"
            print(f"{_name(one.entry.subject)}: {_counts(one.counts)}; {state}")
    if not all(one.verified for one in done):
        raise Refused("something is left, or a sink still holds events: `analytics erase reapply`")


def _found(subject: Subject, counts: Mapping[str, int]) -> dict[str, object]:
    return {"companyId": subject.company_id, "userId": subject.user_id, "counts": counts}


def _erased(one: Erased) -> dict[str, object]:
    return _found(one.entry.subject, one.counts) | {
        "erasureId": one.entry.erasure_id,
        "leftOver": one.left_over,
        "verified": one.verified,
        "seconds": round(one.seconds, 3),
    }


def _name(subject: Subject) -> str:
    if subject.user_id is None:
        return f"company {subject.company_id}"
    return f"user {subject.user_id} of {subject.company_id}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{store} {number}" for store, number in sorted(counts.items())) or "nothing"
