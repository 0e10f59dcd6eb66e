"""The servers as the checks reach them: a connection a check, with short timeouts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import psycopg
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from nats.aio.client import Client as Nats
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

import cli.servers
from cli.refusal import Refused, one_line
from cli.servers import connect_nats, refuse_clickhouse
from cli.token import sign_token
from config import Settings
from config.addresses import LOOPBACK, api_url

# nats-py tries the first connection twice, and an examination ends after 8 s.
ANSWER_SECONDS = 3
# A valid company id, so that a look at the stream and a probe are nobody else's.
DOCTOR_COMPANY = "analytics-doctor"
TOKEN_SECONDS = 120


class JetStreamError(Exception):
    """JetStream's answer is an error; `code` is its own, 404 for what does not exist."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Servers:
    """Addresses of everything. `url` is where dashboards reach the API, maybe through a proxy."""

    settings: Settings
    url: str
    dagster_url: str
    token: str | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        url: str | None = None,
        dagster_url: str | None = None,
        token: str | None = None,
    ) -> Servers:
        """By the settings, where no address is given."""
        return cls(
            settings,
            (url or api_url(settings)).rstrip("/"),
            (dagster_url or f"http://{LOOPBACK}:{settings.dagster_port}").rstrip("/"),
            token,
        )

    @property
    def api(self) -> str:
        """The sidecar itself, without what stands in front."""
        return api_url(self.settings)

    @contextlib.contextmanager
    def postgres(self) -> Iterator[psycopg.Connection]:
        """A connection in autocommit mode.

        Raises:
            Refused: no answer, or an error of the server.
        """
        with cli.servers.connect_postgres(self.settings) as connection:
            # A lock sooner than the whole, so that the error says which of them it was.
            for name, share in (("statement_timeout", 1.0), ("lock_timeout", 0.5)):
                limit = f"{ANSWER_SECONDS * share * 1000:.0f}ms"
                connection.execute("SELECT set_config(%s, %s, false)", (name, limit))
            try:
                yield connection
            except psycopg.Error as error:
                raise Refused(f"Postgres refused: {error}") from None

    @contextlib.contextmanager
    def clickhouse(self, database: str | None = None) -> Iterator[Client]:
        """A client of the warehouse.

        Raises:
            Refused: no answer, or an error of the server.
        """
        name = self.settings.clickhouse_database if database is None else database
        with contextlib.closing(cli.servers.connect_clickhouse(self.settings, name)) as client:
            try:
                yield client
            except ClickHouseError as error:
                raise refuse_clickhouse(self.settings, error) from None

    def jetstream(self, subject: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The answer of JetStream's API to `$JS.API.<subject>`, as it is on the wire.

        The wire, because nats-py's objects leave out the server's time.

        Raises:
            Refused: NATS does not answer, or has no JetStream.
            JetStreamError: an error that JetStream names.
        """
        answer: dict[str, Any] = asyncio.run(self._jetstream(subject, body or {}))
        if error := answer.get("error"):
            raise JetStreamError(int(error.get("code", 500)), str(error.get("description")))
        return answer

    async def _jetstream(self, subject: str, body: Mapping[str, Any]) -> Any:
        async with self.nats() as connection:
            try:
                message = await connection.request(
                    f"$JS.API.{subject}", json.dumps(body).encode(), timeout=ANSWER_SECONDS
                )
            except NoRespondersError:
                raise Refused("NATS runs without JetStream; start it with -js") from None
            except (NatsError, TimeoutError) as error:
                raise Refused(f"JetStream does not answer: {_words(error)}") from None
            return json.loads(message.data)

    @contextlib.asynccontextmanager
    async def nats(self) -> AsyncIterator[Nats]:
        """A connection to NATS.

        Raises:
            Refused: no answer.
        """
        connection = await connect_nats(
            self.settings.nats_url.get_secret_value(),
            name="analytics-doctor",
            seconds=ANSWER_SECONDS,
        )
        try:
            yield connection
        finally:
            await connection.close()

    def get(self, address: str, **request: Any) -> httpx.Response:
        """The answer to a GET, whatever its status.

        Raises:
            Refused: no answer.
        """
        return self._http("GET", address, **request)

    def post(self, address: str, **request: Any) -> httpx.Response:
        """The answer to a POST, whatever its status.

        Raises:
            Refused: no answer.
        """
        return self._http("POST", address, **request)

    def authorization(self) -> dict[str, str]:
        """Headers with the token that was given, or one for the doctor's company."""
        token = self.token
        if token is None and self.settings.jwt_secret is not None:
            token = sign_token(self.settings, DOCTOR_COMPANY, "doctor", None, TOKEN_SECONDS)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _http(self, method: str, address: str, **request: Any) -> httpx.Response:
        try:
            return httpx.request(
                method, address, timeout=ANSWER_SECONDS, verify=certificates(), **request
            )
        except httpx.HTTPError as error:
            raise Refused(f"no answer at {address} ({_words(error)})") from None


@cache
def certificates() -> ssl.SSLContext:
    """What we trust; once, because each reading takes 20 ms of CPU."""
    return ssl.create_default_context()


def _words(error: BaseException) -> str:
    return one_line(error) or type(error).__name__
