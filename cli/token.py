"""`analytics token`: a token for a company, signed with JWT_SECRET."""

from __future__ import annotations

import json
import re
import sys
import time
import warnings
from typing import Annotated

import jwt
import typer

from cli.refusal import Refused
from cli.servers import read_settings
from config import Settings
from config.names import COMPANY_ID_PATTERN

SECONDS_PER = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def valid_company(value: str) -> str:
    """Callback of `--company`.

    Raises:
        typer.BadParameter: not a company id.
    """
    if not re.fullmatch(COMPANY_ID_PATTERN, value):
        raise typer.BadParameter("a company id is 1-100 letters, digits, hyphens, underscores")
    return value


def token(
    company: Annotated[str, typer.Option(callback=valid_company, help="Company id.")],
    user: Annotated[str, typer.Option(help="User id, the claim `sub`.")] = "cli",
    role: Annotated[
        str | None, typer.Option(help="For example system_admin, which may name any company.")
    ] = None,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 90s, 30m, 8h, 7d.")] = "1h",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Print a signed token, for `Authorization: Bearer …`."""
    settings = read_settings()
    seconds = parse_duration(ttl)
    signed = sign_token(settings, company, user, role, seconds)
    if len(_secret(settings)) < 32:
        print("note: JWT_SECRET is shorter than 32 bytes and can be guessed", file=sys.stderr)
    print(json.dumps({"token": signed, "expiresIn": seconds}) if as_json else signed)


def parse_duration(text: str) -> int:
    """Seconds of `90s`, `30m`, `8h`, `7d`, or of a bare number.

    Raises:
        typer.BadParameter: anything else, and zero.
    """
    match = re.fullmatch(r"(\d{1,9})([smhd]?)", text)
    if not match or int(match[1]) == 0:
        raise typer.BadParameter(f"{text!r} is not a duration; write 90s, 30m, 8h or 7d")
    return int(match[1]) * SECONDS_PER[match[2]]


def sign_token(
    settings: Settings, company: str | None, user: str, role: str | None, ttl_seconds: int
) -> str:
    """An HS256 token as the sidecar accepts it (issuer and audience as it is set).

    Raises:
        Refused: there is no secret to sign with.
    """
    now = int(time.time())
    claims = {
        "companyId": company,
        "sub": user,
        "roles": [role] if role else [],
        "iat": now,
        "exp": now + ttl_seconds,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
    }
    with warnings.catch_warnings():
        # Said once, in our own words, by the command.
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            _secret(settings),
            algorithm="HS256",
        )


def _secret(settings: Settings) -> bytes:
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value().encode()
    if settings.jwt_jwks_url is not None:
        raise Refused("tokens are signed by the issuer of JWT_JWKS_URL; JWT_SECRET is not set")
    raise Refused("JWT_SECRET is not set: authentication is off and no token is needed")
