"""The sidecar's API for commands: a token where one is needed, refusals in the server's words."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import httpx
import typer

from cli.refusal import Refused
from cli.servers import START_IT
from cli.token import sign_token
from config import Settings
from config.addresses import api_url

TOKEN_SECONDS = 3600
# A call decides about 1,000 letters at most; each may be read from the stream and stored.
TIMEOUT_SECONDS = 120
ADMIN_ROLE = "system_admin"

Token = Annotated[
    str | None,
    typer.Option(envvar="ANALYTICS_TOKEN", help="Bearer token; default: signed with JWT_SECRET."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]


class Api:
    """Calls below `path`, with `token` or, where JWT_SECRET is set, with one of our own.

    Our own token is `company`'s, without a role, or an admin's when no company is given.
    """

    def __init__(
        self, settings: Settings, path: str, token: str | None, company: str | None = None
    ) -> None:
        self._address = f"{api_url(settings)}{path}"
        if token is None and settings.jwt_secret is not None:
            user = f"cli:{getpass.getuser()}"
            role = None if company else ADMIN_ROLE
            token = sign_token(settings, company, user, role, TOKEN_SECONDS)
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
        raise Refused(f"the API answered {response.status_code}: {error_message(response)}")


def error_message(response: httpx.Response) -> str:
    """What an error of the API says; the reason phrase where it is not the API's own."""
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
