"""`/stream/…`: open a stream, get a ticket for one, and look at what is open."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from config.names import SSE_EVENT_NAMES
from stream_api.auth import Principal
from stream_api.channel import companies_of
from stream_api.connection import Connection, Ending
from stream_api.errors import Refusal, refusals
from stream_api.responses import MEDIA_TYPE, stream_response
from stream_api.routes.access import (
    PrincipalDep,
    SidecarDep,
    get_admin,
    reachable_servers,
    require_companies,
)
from stream_api.sidecar import Sidecar
from stream_api.tickets import VALID_SECONDS

router = APIRouter(prefix="/stream", tags=["streaming"])

EVENT_NAMES = frozenset(SSE_EVENT_NAMES.values())


@router.get(
    "/updates",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **refusals(400, 401, 403, 429, 501, 503)},
)
async def open_stream(
    request: Request,
    sidecar: SidecarDep,
    company_id: Annotated[
        str | None, Query(alias="companyId", description="default: the token's own")
    ] = None,
    last_event_id: Annotated[
        str | None,
        Query(alias="lastEventId", max_length=400, description="resume here, as Last-Event-ID"),
    ] = None,
    types: Annotated[str | None, Query(description="comma list of event names")] = None,
    ticket: Annotated[
        str | None, Query(max_length=200, description="of POST /stream/ticket, instead of a token")
    ] = None,
    once: Annotated[bool, Query(description="end when all up to now is sent, for polling")] = False,
) -> Response:
    """Server-Sent Events of one company, from the last id on or from now on.

    Admins may name several companies, joined by commas: one stream, in the order of the events.
    Where no stream can be held, `once=true` polls: the answer ends when everything up to now is
    sent, and the last id in it is the next call's `lastEventId`.

    Everything that can refuse the stream comes before its first byte: afterwards the status is
    200 for good.
    """
    try:
        return await _open(request, sidecar, company_id, last_event_id, types, ticket, once)
    except Refusal as refusal:
        sidecar.stream_metrics.refused(refusal.status_code)
        raise


async def _open(
    request: Request,
    sidecar: Sidecar,
    company_id: str | None,
    last_event_id: str | None,
    types: str | None,
    ticket: str | None,
    once: bool,
) -> Response:
    _require_streaming(sidecar)
    if ticket:
        principal = await sidecar.tickets.redeem(ticket)
    else:
        principal = await sidecar.authenticator.principal(request)
    company = require_companies(principal, company_id)
    wanted_types = _parse_types(types)
    _require_open(sidecar, company)
    # The header is the browser's own on a reconnect, so it is newer than the URL's.
    last_id = request.headers.get("last-event-id") or last_event_id
    resume = await sidecar.replay.resolve(company, last_id)
    # Once more: a drain or a switch that came meanwhile has not seen this stream, which is not
    # counted before `admit`. From here to there nothing waits.
    _require_streaming(sidecar)
    _require_open(sidecar, company)
    _require_room(sidecar, company)
    connection, response = stream_response(
        request.scope,
        sidecar.hub,
        sidecar.replay,
        company_id=company,
        types=wanted_types,
        resume=resume,
        once=once,
    )
    sidecar.hub.admit(connection)
    _limit_lifetime(sidecar, connection, principal)
    return response


@router.post("/ticket", responses=refusals(401, 501, 503))
async def issue_ticket(sidecar: SidecarDep, principal: PrincipalDep) -> dict[str, Any]:
    """A ticket that opens one stream within 30 s: `/stream/updates?ticket=…`."""
    _require_streaming(sidecar)
    if not sidecar.nats.is_connected:
        raise Refusal(503, "NATS is not connected; try again", 2)
    return {"ticket": await sidecar.tickets.issue(principal), "expiresIn": VALID_SECONDS}


@router.get(
    "/stats",
    dependencies=[Depends(get_admin)],
    responses=refusals(400, 401, 403, 501, 503),
)
async def read_stats(
    sidecar: SidecarDep,
    scope: Literal["instance", "cluster"] = "instance",
) -> dict[str, Any]:
    """Open connections and the replay cache, by company: of this instance, or of all of them."""
    _require_streaming(sidecar)
    if scope == "instance":
        return {**sidecar.hub.stats(), "timestamp": _now()}
    if not sidecar.nats.is_connected:
        raise Refusal(503, "NATS is not connected; ask without scope=cluster", 2)
    with reachable_servers():
        return {**await sidecar.cluster.stats(), "timestamp": _now()}


@router.get("/health")
async def read_stream_health(sidecar: SidecarDep) -> dict[str, Any]:
    """Whether streams can be opened, and how many are."""
    enabled = sidecar.settings.streaming_enabled
    stats = sidecar.hub.stats()["connections"]
    return {
        "status": "ok" if not enabled or sidecar.nats.is_connected else "degraded",
        "streaming": {
            "enabled": enabled,
            "activeConnections": stats["totalConnections"],
            "activeCompanies": stats["activeCompanies"],
        },
        "timestamp": _now(),
    }


def _require_streaming(sidecar: Sidecar) -> None:
    if not sidecar.settings.streaming_enabled:
        raise Refusal(501, "streaming is switched off; set STREAMING_ENABLED=true")
    if sidecar.hub.draining:
        raise Refusal(503, "this instance is draining; try again", 1)


def _require_open(sidecar: Sidecar, companies: str) -> None:
    for company_id in companies_of(companies):
        if not sidecar.flags.is_on(company_id):
            raise Refusal(403, f"streaming is switched off for company {company_id}")
    if not sidecar.nats.is_connected or not sidecar.feed.caught_up.is_set():
        raise Refusal(503, "NATS is not connected; try again", 2)


def _require_room(sidecar: Sidecar, companies: str) -> None:
    hub, settings = sidecar.hub, sidecar.settings
    if hub.connection_count() >= settings.stream_max_connections:
        raise Refusal(429, "this instance has no room for another stream; try again", 5)
    for company_id in companies_of(companies):
        if hub.connection_count(company_id) >= settings.stream_max_connections_per_company:
            raise Refusal(
                429, f"company {company_id} has as many open streams as it may; close some", 5
            )


def _parse_types(types: str | None) -> frozenset[str] | None:
    if not types:
        return None
    names = frozenset(filter(None, (name.strip() for name in types.split(","))))
    unknown = sorted(names - EVENT_NAMES)
    if unknown or not names:
        raise Refusal(
            400, f"types: {', '.join(unknown)} unknown; there are {', '.join(sorted(EVENT_NAMES))}"
        )
    return names


def _limit_lifetime(sidecar: Sidecar, connection: Connection, principal: Principal) -> None:
    """End the stream when its token does, or when its lifetime is reached, whichever is first."""
    ends: list[tuple[float, Ending]] = []
    if principal.expires_at is not None:
        ends.append((principal.expires_at - time.time(), Ending.TOKEN_EXPIRED))
    if sidecar.settings.stream_max_lifetime_s:
        ends.append((sidecar.settings.stream_max_lifetime_s, Ending.LIFETIME))
    if ends:
        seconds, ending = min(ends)
        connection.expiry = asyncio.get_running_loop().call_later(
            max(0.0, seconds), sidecar.hub.end, connection, ending
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
