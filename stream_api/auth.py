"""Who asks: bearer token, cookie or one-time ticket, and which companies they may see.

HS256 by `JWT_SECRET`, or RS/ES/PS keys by `JWT_JWKS_URL`; never both for one token, so that a
public key can't be used as a shared secret. With neither set the sidecar runs on loopback only and
everybody is anonymous.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import jwt
from starlette.requests import Request

from config.names import COMPANY_ID_PATTERN
from config.settings import Settings
from stream_api.errors import Refusal

COOKIE = "analytics_token"
ADMIN_ROLES = frozenset({"system_admin", "super_admin"})
CLOCK_SKEW_SECONDS = 30
JWKS_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"]
JWKS_AGE_SECONDS = 300
# An unknown key id may be a rotation, or somebody guessing: asked for at most this often.
JWKS_PAUSE_SECONDS = 10
# A key server that does not answer is asked again after this.
JWKS_RETRY_SECONDS = 1
JWKS_TIMEOUT_SECONDS = 5

_COMPANY_ID = re.compile(COMPANY_ID_PATTERN)


@dataclass(frozen=True)
class Principal:
    """Who asks. `company_id` None means any company; `expires_at` is epoch seconds or None."""

    company_id: str | None
    user_id: str | None
    roles: frozenset[str]
    expires_at: float | None

    @property
    def is_admin(self) -> bool:
        return bool(self.roles & ADMIN_ROLES)

    def may_see(self, company_id: str) -> bool:
        """True when data of the company may be shown to them."""
        return self.company_id is None or self.is_admin or self.company_id == company_id


ANONYMOUS = Principal(None, None, frozenset(ADMIN_ROLES), None)


class Authenticator:
    """Checks tokens by the settings. Fails closed: what can't be verified is refused.

    A key set is asked for when it is 5 minutes old, and for the sake of an unknown key at most once
    in `pause_seconds`.
    """

    def __init__(self, settings: Settings, pause_seconds: float = JWKS_PAUSE_SECONDS) -> None:
        self._settings = settings
        self._pause_seconds = pause_seconds
        # By key id and algorithm.
        self._keys: dict[tuple[str, str], jwt.PyJWK] = {}
        self._keys_at = float("-inf")
        self._unknown_at = float("-inf")
        self._failed_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def principal(self, request: Request) -> Principal:
        """Who asks by header or cookie.

        Raises:
            Refusal: 401 when there is no valid token.
        """
        if not self._settings.auth_enabled:
            return ANONYMOUS
        header = request.headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if header and scheme.lower() != "bearer":
            raise Refusal(401, "Authorization must be 'Bearer <token>'")
        token = token.strip() or request.cookies.get(COOKIE, "")
        if not token:
            raise Refusal(401, f"a token is needed: Authorization: Bearer, or the cookie {COOKIE}")
        return principal_of(await self._claims(token))

    async def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        try:
            algorithm = str(jwt.get_unverified_header(token).get("alg"))
            key: Any
            if algorithm == "HS256" and settings.jwt_secret:
                key, algorithms = settings.jwt_secret.get_secret_value(), ["HS256"]
            elif algorithm in JWKS_ALGORITHMS and settings.jwt_jwks_url:
                key_id = str(jwt.get_unverified_header(token).get("kid") or "")
                key, algorithms = await self._key(key_id, algorithm), [algorithm]
            else:
                raise Refusal(401, f"tokens signed with {algorithm} are not accepted here")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=settings.jwt_audience,
                issuer=settings.jwt_issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp"], "verify_aud": settings.jwt_audience is not None},
            )
        except jwt.ExpiredSignatureError:
            raise Refusal(401, "the token has expired; get a new one") from None
        except jwt.PyJWTError as error:
            raise Refusal(401, f"the token is not valid: {error}") from None
        return claims

    async def _key(self, key_id: str, algorithm: str) -> jwt.PyJWK:
        wanted = key_id, algorithm
        if not self._is_fresh() or wanted not in self._keys:
            # Whoever waits here finds what the one before has fetched.
            async with self._fetching:
                await self._fetch_if_needed(wanted)
        key = self._keys.get(wanted)
        if key is None:
            raise Refusal(
                401,
                f"no key {key_id!r} for {algorithm} in the key set; the token can't be verified",
            )
        return key

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._keys_at <= JWKS_AGE_SECONDS

    async def _fetch_if_needed(self, wanted: tuple[str, str]) -> None:
        now = time.monotonic()
        if not self._is_fresh():
            if now - self._failed_at < JWKS_RETRY_SECONDS:
                raise Refusal(503, "the key set can't be read, so no token can be verified", 5)
            await self._fetch_keys()
        elif wanted not in self._keys and now - self._unknown_at > self._pause_seconds:
            self._unknown_at = now
            await self._fetch_keys()

    async def _fetch_keys(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=JWKS_TIMEOUT_SECONDS) as client:
                answer = await client.get(self._settings.jwt_jwks_url or "")
                answer.raise_for_status()
                keys = dict(_signing_keys(answer.json()["keys"]))
            if not keys:
                raise ValueError("it has no key that a token could be signed with")
        except (httpx.HTTPError, ValueError, TypeError, KeyError) as error:
            self._failed_at = time.monotonic()
            raise Refusal(
                503, f"the key set can't be read, so no token can be verified: {error}", 5
            ) from None
        self._keys = keys
        self._keys_at = time.monotonic()


def _signing_keys(members: list[Any]) -> Iterator[tuple[tuple[str, str], jwt.PyJWK]]:
    """The keys of a set by id and algorithm; one that names no algorithm serves each of its type.

    What can't be used is left out, as RFC 7517 asks, section 5.
    """
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        for algorithm in JWKS_ALGORITHMS:
            if member.get("alg", algorithm) == algorithm:
                with contextlib.suppress(jwt.PyJWTError):
                    yield (
                        (str(member.get("kid") or ""), algorithm),
                        jwt.PyJWK(member, algorithm),
                    )


def principal_of(claims: dict[str, Any]) -> Principal:
    """The principal that verified claims name.

    Raises:
        Refusal: 401 when the claims name neither a company nor an admin role.
    """
    roles = claims.get("roles") or claims.get("role") or []
    named = frozenset({roles} if isinstance(roles, str) else map(str, roles))
    company = claims.get("companyId")
    if company is not None and not (isinstance(company, str) and _COMPANY_ID.fullmatch(company)):
        raise Refusal(401, "the token's companyId is not 1-100 of [A-Za-z0-9_-]")
    if company is None and not named & ADMIN_ROLES:
        raise Refusal(401, "the token names no companyId")
    user = claims.get("sub") or claims.get("userId")
    # A token is good for its clock skew longer, at the door and on an open stream alike.
    expires_at = float(claims["exp"]) + CLOCK_SKEW_SECONDS
    return Principal(company, str(user) if user else None, named, expires_at)
