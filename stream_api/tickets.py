"""One-time tickets: EventSource sets no headers, and a long-lived token must not stand in a URL.

A ticket is an opaque key in a NATS key-value bucket, so any instance can redeem it. It is redeemed
by a delete at the revision that was read: of two who try, the server refuses the second.
"""

from __future__ import annotations

import json
import secrets
from datetime import timedelta

from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.js.errors import APIError, KeyNotFoundError, NotFoundError, ServiceUnavailableError
from nats.js.kv import KeyValue

from stream_api.auth import Principal
from stream_api.errors import Refusal

BUCKET = "ANALYTICS_TICKETS"
VALID_SECONDS = 30


class Tickets:
    """Issues and redeems tickets."""

    def __init__(self, nats: Nats) -> None:
        self._js = nats.jetstream()

    async def issue(self, principal: Principal) -> str:
        """A new ticket for what the principal may see."""
        ticket = secrets.token_urlsafe(32)
        claims = {
            "company_id": principal.company_id,
            "user_id": principal.user_id,
            "roles": sorted(principal.roles),
            "expires_at": principal.expires_at,
        }
        try:
            await (await self._bucket()).put(ticket, json.dumps(claims).encode())
        except (NatsError, TimeoutError) as error:
            raise Refusal(503, f"tickets can't be issued now: {error}", 2) from None
        return ticket

    async def redeem(self, ticket: str) -> Principal:
        """The principal of a ticket, which is spent by this call.

        Raises:
            Refusal: 401 for a ticket that is unknown, spent or older than 30 s.
        """
        refused = Refusal(401, "the ticket is unknown, spent or expired; ask for a new one")
        # Letters beyond ASCII are alphanumeric too, and no key of the bucket.
        if not (ticket.isascii() and ticket.replace("-", "").replace("_", "").isalnum()):
            raise refused
        try:
            bucket = await self._bucket()
            entry = await bucket.get(ticket)
            await bucket.delete(ticket, last=entry.revision)
        except (ServiceUnavailableError, TimeoutError) as error:
            raise Refusal(503, f"tickets can't be checked now: {error}", 2) from None
        except (KeyNotFoundError, APIError):
            raise refused from None
        except NatsError as error:
            raise Refusal(503, f"tickets can't be checked now: {error}", 2) from None
        claims = json.loads(entry.value or b"{}")
        return Principal(
            claims["company_id"],
            claims["user_id"],
            frozenset(claims["roles"]),
            claims["expires_at"],
        )

    async def _bucket(self) -> KeyValue:
        try:
            return await self._js.key_value(BUCKET)
        except NotFoundError:
            return await self._js.create_key_value(
                bucket=BUCKET, ttl=timedelta(seconds=VALID_SECONDS).total_seconds()
            )
