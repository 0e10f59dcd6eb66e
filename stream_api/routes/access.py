"""What every route asks first: the sidecar, who asks, and for which company."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Request

from config.names import COMPANY_ID_PATTERN
from stream_api.auth import Principal
from stream_api.errors import Refusal
from stream_api.sidecar import Sidecar

_COMPANY_ID = re.compile(COMPANY_ID_PATTERN)


def get_sidecar(request: Request) -> Sidecar:
    """The one sidecar of the application."""
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


def require_admin(principal: Principal) -> None:
    """Refuse whoever has no admin role."""
    if not principal.is_admin:
        raise Refusal(403, "this needs the role system_admin or super_admin")
