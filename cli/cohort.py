"""`analytics cohort`: cohorts and their figures by the sidecar's API.

By the API and not on the databases: who may see what, which filters there are and how figures are
made stays in one place.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cli import cohort_tables as tables
from cli.api import Api, AsJson, Token
from cli.refusal import Refused
from cli.servers import read_settings
from cli.token import valid_company

PAGE_ROWS = 1000

app = typer.Typer(
    name="cohort",
    help="Cohorts: list, show, create, members, metrics, compare.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def valid_company_or_none(value: str | None) -> str | None:
    """Callback of `--company`."""
    return None if value is None else valid_company(value)


def valid_filter(value: str) -> str:
    """Callback of `--filter`: which keys there are is the server's to say.

    Raises:
        typer.BadParameter: not a JSON object.
    """
    try:
        filters = json.loads(value)
    except ValueError as error:
        raise typer.BadParameter(f'not JSON ({error}); write \'{{"language": "uk"}}\'') from None
    if not isinstance(filters, dict):
        raise typer.BadParameter('filters are a JSON object, such as {"language": "uk"}')
    return value


Company = Annotated[
    str | None,
    typer.Option(
        "--company",
        callback=valid_company_or_none,
        help="Company id; needed unless a token names it.",
    ),
]
Cohort = Annotated[str, typer.Argument(metavar="COHORT", help="Its id or its name.")]
Metric = Annotated[str, typer.Option("--metric", help="For example integration_score.")]


class Cohorts:
    """The company's cohorts by the API.

    Raises:
        typer.BadParameter: neither a company nor a token that could name one.
    """

    def __init__(self, company: str | None, token: str | None) -> None:
        if company is None and token is None:
            raise typer.BadParameter("give --company, or --token with a token that names one")
        self._company = company
        self._api = Api(read_settings(), "/cohort", token, company)
        self._ids: dict[str, str] = {}

    def get(self, path: str, **parameters: object) -> dict[str, Any]:
        """The answer of one call; parameters that are None are left out."""
        asked = {"companyId": self._company, **parameters}
        given = {name: value for name, value in asked.items() if value is not None}
        return self._api.call("GET", path, params=given)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer of one call with a body."""
        named = {"companyId": self._company} if self._company else {}
        return self._api.call("POST", path, json=named | body)

    def pages(self, path: str, rows: str, **parameters: object) -> Iterator[dict[str, Any]]:
        """Every row of an answer's member `rows`, over as many calls as it takes."""
        cursor = None
        while True:
            answer = self.get(path, limit=PAGE_ROWS, cursor=cursor, **parameters)
            yield from answer[rows]
            cursor = answer.get("nextCursor")
            if not cursor:
                return

    def find(self, cohort: str) -> str:
        """The id of a cohort that is given by id or by name.

        Raises:
            Refused: the company has no cohort of that name.
        """
        try:
            return str(uuid.UUID(cohort))
        except ValueError:
            pass
        if not self._ids:
            self._ids = {one["name"]: str(one["cohortId"]) for one in self.pages("", "cohorts")}
        if cohort in self._ids:
            return self._ids[cohort]
        raise Refused(f"there is no cohort named {cohort!r}; `analytics cohort list` shows them")


@app.command("list")
def list_cohorts(company: Company = None, token: Token = None, as_json: AsJson = False) -> None:
    """List the company's cohorts by name."""
    found = list(Cohorts(company, token).pages("", "cohorts"))
    print(json.dumps({"cohorts": found}) if as_json else tables.cohorts(found))


@app.command()
def show(
    cohort: Cohort, company: Company = None, token: Token = None, as_json: AsJson = False
) -> None:
    """Show one cohort, and its metrics in the latest period with data."""
    api = Cohorts(company, token)
    cohort_id = api.find(cohort)
    found = api.get(f"/{cohort_id}")["cohort"]
    overview = api.get(f"/{cohort_id}/overview")
    if as_json:
        print(json.dumps({"cohort": found, "overview": overview}))
        return
    print(tables.cohort(found, overview))


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Unique in its company.")],
    filters: Annotated[
        str,
        typer.Option(
            "--filter",
            callback=valid_filter,
            help='Who belongs to it, JSON: {"language": "uk", "program": "mentorship"}.',
        ),
    ],
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    company: Company = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a cohort; its members follow its filters."""
    body = {"name": name, "description": description, "filters": json.loads(filters)}
    answer = Cohorts(company, token).post("", body)
    if as_json:
        print(json.dumps(answer))
        return
    made = answer["cohort"]
    follows = "follow within seconds" if answer["membership"] == "pending" else "are in it"
    print(f"created {made['cohortId']}: {made['members']} members {follows}")


@app.command()
def members(
    cohort: Cohort,
    explain: Annotated[bool, typer.Option("--explain", help="Say of each one why.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The first so many by user id.")] = 1000,
    company: Company = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the members of a cohort, and why they are."""
    api = Cohorts(company, token)
    cohort_id = api.find(cohort)
    found: list[dict[str, Any]] = []
    more = False
    for one in api.pages(f"/{cohort_id}/members", "members", explain=explain):
        if len(found) == limit:
            more = True
            break
        found.append(one)
    if as_json:
        print(json.dumps({"cohortId": cohort_id, "members": found, "more": more}))
        return
    print(tables.members(found, explain))
    if more:
        print(f"and more; --limit {limit * 10} shows them")


@app.command()
def metrics(
    cohort: Cohort,
    metric: Metric,
    since: Annotated[str | None, typer.Option("--from", help="First period, 2025-11-01.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last period, included.")] = None,
    company: Company = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show a metric of a cohort, one row a period. Each user is one observation."""
    api = Cohorts(company, token)
    path = f"/{api.find(cohort)}/metrics"
    found = list(api.pages(path, "data", metric=metric, startDate=since, endDate=until))
    print(json.dumps({"metricName": metric, "data": found}) if as_json else tables.metrics(found))


@app.command()
def compare(
    cohorts: Annotated[list[str], typer.Argument(metavar="COHORT", help="Up to 50 ids or names.")],
    metric: Metric,
    period: Annotated[
        str | None, typer.Option(help="Default: the latest with data of one of them.")
    ] = None,
    company: Company = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Compare cohorts by a metric.

    Ranks, 95 % intervals, and the differences between pairs.
    """
    api = Cohorts(company, token)
    body: dict[str, Any] = {"cohortIds": [api.find(one) for one in cohorts], "metric": metric}
    answer = api.post("/compare", body | ({"periodStart": period} if period else {}))
    if as_json:
        print(json.dumps(answer))
    else:
        print(tables.comparison(answer["comparison"], len(set(body["cohortIds"]))))
