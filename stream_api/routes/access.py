"""What every route asks first: the sidecar, who asks, and for which company."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request
from nats.errors import Error as NatsError

from config.names import COMPANY_ID_PATTERN
from events.event_id import EventId
from stream_api.auth import Principal
from stream_api.channel import SEVERAL
from stream_api.errors import Refusal
from stream_api.sidecar import Sidecar
from stream_api.warehouse import Warehouse, WarehouseAwayError

# Companies in one stream of an admin: a replay reads each one's history.
MAX_COMPANIES = 50

_COMPANY_ID = re.compile(COMPANY_ID_PATTERN)


async def get_sidecar(request: Request) -> Sidecar:
    """The one sidecar of the application; async, since FastAPI runs others in a thread."""
    sidecar: Sidecar = request.app.state.sidecar
    return sidecar


SidecarDep = Annotated[Sidecar, Depends(get_sidecar)]


async def get_principal(request: Request, sidecar: SidecarDep) -> Principal:
    """Who asks, by header or cookie."""
    return await sidecar.authenticator.principal(request)


PrincipalDep = Annotated[Principal, Depends(get_principal)]


def require_company(principal: Principal, asked: str | None) -> str:
    """The company that a request is about.

    With authentication the token's, which an explicit one must equal; admins may name any.
    Without, the request must name it.

    Raises:
        Refusal: 400 for a missing or malformed company, 403 for another one than the token's.
    """
    company_id = asked or principal.company_id
    if not company_id:
        raise Refusal(400, "companyId is missing; add ?companyId=<company>")
    if not _COMPANY_ID.fullmatch(company_id):
        raise Refusal(400, "companyId must be 1-100 characters of [A-Za-z0-9_-]")
    if not principal.may_see(company_id):
        raise Refusal(403, "the token is of another company than the one asked for")
    return company_id


def require_companies(principal: Principal, asked: str | None) -> str:
    """The companies that a stream is about, sorted and joined by commas; one for all but admins.

    Raises:
        Refusal: as `require_company` for each, and 403 or 400 for a list that may not be.
    """
    if asked is None or SEVERAL not in asked:
        return require_company(principal, asked)
    if not principal.is_admin:
        raise Refusal(403, "several companies in one stream need an admin role")
    companies = sorted({require_company(principal, one.strip()) for one in asked.split(SEVERAL)})
    if len(companies) > MAX_COMPANIES:
        raise Refusal(400, f"companyId names {len(companies)}; at most {MAX_COMPANIES} in one")
    return SEVERAL.join(companies)


async def get_admin(principal: PrincipalDep) -> Principal:
    """Who asks, refused without an admin role."""
    if not principal.is_admin:
        raise Refusal(403, "this needs the role system_admin or super_admin")
    return principal


AdminDep = Annotated[Principal, Depends(get_admin)]


def require_warehouse(sidecar: Sidecar) -> Warehouse:
    """The warehouse; refuses where it is switched off."""
    if sidecar.warehouse is None:
        raise Refusal(501, "the warehouse is switched off; set CLICKHOUSE_ENABLED=true")
    return sidecar.warehouse


def require_event_id(text: str) -> EventId:
    """The event id that a request names."""
    event_id = EventId.parse(text)
    if event_id is None:
        raise Refusal(
            400,
            f"{text[:100]!r} is no event id; one is <subject>-<stream sequence>-<epoch ms>, for "
            "example metrics.calculated-12345-1699999999999",
        )
    return event_id


@contextmanager
def reachable_servers() -> Iterator[None]:
    """Answer 503 when ClickHouse or NATS does not answer inside."""
    try:
        yield
    except WarehouseAwayError as error:
        raise Refusal(503, f"ClickHouse does not answer: {error}", 5) from None
    except (NatsError, TimeoutError) as error:
        raise Refusal(503, f"NATS does not answer: {error or type(error).__name__}", 5) from None
