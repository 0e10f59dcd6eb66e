"""Who may open a stream: every refusal, with real tokens and a real key server."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.requests import Request

from config.settings import Settings
from stream_api.auth import Authenticator
from stream_api.errors import Refusal
from tests.live.producer import Producer
from tests.live.sidecar import SidecarProcess, open_stream

SECRET = "a-secret-of-at-least-thirty-two-bytes"
STREAMING_ONLY = {"CLICKHOUSE_ENABLED": "false"}


def token(
    key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **claims: Any
) -> str:
    complete = {"companyId": "company-a", "exp": time.time() + 600, **claims}
    kept = {name: value for name, value in complete.items() if value is not None}
    return jwt.encode(kept, key, algorithm, headers={"kid": kid} if kid else None)


@pytest.fixture
def guarded(settings: Settings) -> Iterator[SidecarProcess]:
    """A sidecar that wants HS256 tokens."""
    with SidecarProcess(settings, JWT_SECRET=SECRET, **STREAMING_ONLY) as process:
        yield process


def ask(url: str, authorization: str | None, query: str = "companyId=company-a") -> httpx.Response:
    """The head of the answer; a stream that opens is closed at once."""
    headers = {} if authorization is None else {"Authorization": authorization}
    with httpx.stream("GET", f"{url}/stream/updates?{query}", headers=headers) as response:
        if response.status_code != 200:
            response.read()
        return response


def test_every_refusal_has_its_status(guarded: SidecarProcess) -> None:
    other = token("another-secret-of-at-least-32-bytes!")
    unsigned = jwt.encode({"companyId": "company-a", "exp": time.time() + 600}, "", "none")
    admin = f"Bearer {token(companyId=None, role='super_admin')}"
    cases: list[tuple[str | None, str, int, str]] = [
        (None, "companyId=company-a", 401, "a token is needed"),
        ("Basic eDp5", "companyId=company-a", 401, "Bearer"),
        ("Bearer nonsense", "companyId=company-a", 401, "not valid"),
        (f"Bearer {other}", "companyId=company-a", 401, "not valid"),
        (f"Bearer {unsigned}", "companyId=company-a", 401, "none"),
        (f"Bearer {token(exp=time.time() - 60)}", "companyId=company-a", 401, "expired"),
        (f"Bearer {token(exp=None)}", "companyId=company-a", 401, "exp"),
        (f"Bearer {token(companyId=None)}", "companyId=company-a", 401, "no companyId"),
        (f"Bearer {token(companyId='a b')}", "companyId=company-a", 401, "companyId"),
        (f"Bearer {token()}", "companyId=company-b", 403, "another company"),
        (f"Bearer {token()}", "companyId=company-a,company-b", 403, "admin role"),
        (admin, "companyId=a,b%20c", 400, "companyId must be"),
        (admin, "companyId=a,", 400, "companyId is missing"),
        (admin, "companyId=" + ",".join(f"c{n}" for n in range(51)), 400, "at most 50"),
    ]
    for authorization, query, status, words in cases:
        answer = ask(guarded.url, authorization, query)
        assert (answer.status_code, set(answer.json())) == (status, {"error", "message"}), words
        assert words in answer.json()["message"]
        if status == 401:
            assert answer.headers["www-authenticate"] == "Bearer"


def test_valid_tokens_open_a_stream(guarded: SidecarProcess) -> None:
    assert ask(guarded.url, f"Bearer {token()}").status_code == 200
    assert ask(guarded.url, f"Bearer {token()}", "").status_code == 200
    # A clock that is a little behind ours.
    assert ask(guarded.url, f"Bearer {token(exp=time.time() - 10)}").status_code == 200
    admin = token(companyId=None, roles=["viewer", "system_admin"])
    for companies in ("company-b", "company-c,company-b"):
        assert ask(guarded.url, f"Bearer {admin}", f"companyId={companies}").status_code == 200
    with httpx.stream(
        "GET", f"{guarded.url}/stream/updates", cookies={"analytics_token": token()}
    ) as response:
        assert response.status_code == 200


async def test_ticket_opens_one_stream_and_is_spent(
    guarded: SidecarProcess, producer: Producer
) -> None:
    async with httpx.AsyncClient() as client:
        refused = await client.post(f"{guarded.url}/stream/ticket")
        assert refused.status_code == 401
        answer = await client.post(
            f"{guarded.url}/stream/ticket", headers={"Authorization": f"Bearer {token()}"}
        )
    assert answer.json()["expiresIn"] == 30
    ticket = answer.json()["ticket"]
    async with open_stream(guarded.url, "company-a", ticket=ticket) as stream:
        await stream.until_connected()
        await producer.publish("company-a", n=1)
        assert json.loads((await stream.next()).data)["n"] == 1
    async with httpx.AsyncClient() as client:
        spent = await client.get(f"{guarded.url}/stream/updates", params={"ticket": ticket})
        assert spent.status_code == 401
        ticket = (
            await client.post(
                f"{guarded.url}/stream/ticket", headers={"Authorization": f"Bearer {token()}"}
            )
        ).json()["ticket"]
        other = await client.get(
            f"{guarded.url}/stream/updates", params={"ticket": ticket, "companyId": "company-b"}
        )
        assert other.status_code == 403


async def test_stream_ends_when_its_token_does(guarded: SidecarProcess) -> None:
    # The skew of 30 s is granted on an open stream as well as at the door.
    # Some seconds are left of it: a loaded machine may need them to open the stream.
    short = token(exp=int(time.time()) - 22)
    async with (
        httpx.AsyncClient(timeout=30) as client,
        client.stream(
            "GET", f"{guarded.url}/stream/updates", headers={"Authorization": f"Bearer {short}"}
        ) as response,
    ):
        assert response.status_code == 200
        text = "".join([chunk async for chunk in response.aiter_text()])
    assert 'event: bye\ndata: {"reason":"token_expired"}\n\n' in text


def test_stats_list_tenants_so_they_need_an_admin(guarded: SidecarProcess) -> None:
    def stats(bearer: str) -> int:
        return httpx.get(
            f"{guarded.url}/stream/stats", headers={"Authorization": f"Bearer {bearer}"}
        ).status_code

    assert stats(token()) == 403
    assert stats(token(role="super_admin")) == 200
    assert httpx.get(f"{guarded.url}/stream/stats").status_code == 401


class KeyServer:
    """Serves a JSON Web Key Set that a test can rotate or take away."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        # Members as they are, beside those of `keys`.
        self.more: list[dict[str, Any]] = []
        self.asked = 0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.asked += 1
                body = json.dumps(
                    {
                        "keys": [
                            {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
                            for kid, key in owner.keys.items()
                        ]
                        + owner.more
                    }
                ).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, kid: str) -> rsa.RSAPrivateKey:
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self.keys[kid]


def test_key_set_is_read_cached_and_read_again_for_an_unknown_key(settings: Settings) -> None:
    keys = KeyServer()
    first = keys.add("first")
    sidecar = SidecarProcess(
        settings,
        JWT_JWKS_URL=keys.url,
        JWT_ISSUER="https://id.example.com",
        JWT_AUDIENCE="analytics",
        **STREAMING_ONLY,
    )
    sidecar.start()
    good = {"iss": "https://id.example.com", "aud": "analytics"}
    try:

        def status(key: Any, kid: str, algorithm: str = "RS256", **claims: Any) -> int:
            bearer = token(key, algorithm, kid, **claims)
            return ask(sidecar.url, f"Bearer {bearer}").status_code

        assert [status(first, "first", **good) for _ in range(3)] == [200, 200, 200]
        assert keys.asked == 1
        assert status(first, "first", iss="https://evil.example.com", aud="analytics") == 401
        assert status(first, "first", iss="https://id.example.com", aud="other") == 401
        assert status(first, "first", iss="https://id.example.com") == 401
        # The public key as an HMAC secret: the oldest trick.
        assert status(SECRET, "first", "HS256", **good) == 401
        # Another key under a known id is not believed.
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert status(stranger, "first", **good) == 401
    finally:
        sidecar.stop()
        keys.server.shutdown()


async def test_rotated_key_is_accepted_and_an_unknown_one_is_asked_for_once(
    settings: Settings,
) -> None:
    keys = KeyServer()
    first = keys.add("first")
    wanted = settings.model_copy(update={"jwt_jwks_url": keys.url})
    authenticator = Authenticator(wanted)

    async def status(key: Any, kid: str) -> int:
        bearer = f"Bearer {token(key, 'RS256', kid)}".encode()
        request = Request({"type": "http", "headers": [(b"authorization", bearer)]})
        try:
            principal = await authenticator.principal(request)
        except Refusal as refusal:
            return refusal.status_code
        assert principal.company_id == "company-a"
        return 200

    try:
        # Everybody comes at once after a start: one question.
        assert await asyncio.gather(*(status(first, "first") for _ in range(20))) == [200] * 20
        assert keys.asked == 1
        second = keys.add("second")
        assert await asyncio.gather(*(status(second, "second") for _ in range(20))) == [200] * 20
        assert keys.asked == 2
        assert await status(first, "first") == 200
        # Whoever makes up key ids does not make us ask for each of them.
        stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        assert {await status(stranger, f"made-up-{n}") for n in range(20)} == {401}
        assert keys.asked == 2
        # Without the pause: a key that was taken out of the set is refused once it is read again.
        authenticator = Authenticator(wanted, pause_seconds=0)
        assert await status(first, "first") == 200
        del keys.keys["first"]
        third = keys.add("third")
        assert [await status(third, "third"), await status(first, "first")] == [200, 401]
    finally:
        keys.server.shutdown()
        keys.server.server_close()
    # What is known is good without the server; what is not stays refused.
    assert [await status(third, "third"), await status(first, "first")] == [200, 503]


async def test_algorithms_of_keys_that_name_one_and_of_keys_that_do_not(
    settings: Settings,
) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    p256, p384 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    ed25519 = Ed25519PrivateKey.generate()
    keys = KeyServer()
    rsa_jwk = RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True)
    p256_jwk = ECAlgorithm.to_jwk(p256.public_key(), as_dict=True)
    keys.more = [
        {**rsa_jwk, "kid": "rsa"},
        {**rsa_jwk, "kid": "rsa-pss", "alg": "PS256"},
        {**rsa_jwk, "kid": "rsa-enc", "use": "enc"},
        {**rsa_jwk, "kid": "rsa-oaep", "alg": "RSA-OAEP"},
        {**p256_jwk, "kid": "p256", "alg": "ES256"},
        {**ECAlgorithm.to_jwk(p384.public_key(), as_dict=True), "kid": "p384"},
        {**OKPAlgorithm.to_jwk(ed25519.public_key(), as_dict=True), "kid": "ed", "alg": "EdDSA"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "oct"},
        {"kty": "unheard of", "kid": "new"},
    ]
    authenticator = Authenticator(settings.model_copy(update={"jwt_jwks_url": keys.url}))

    async def refused(key: Any, algorithm: str, kid: str) -> str:
        bearer = f"Bearer {token(key, algorithm, kid)}".encode()
        request = Request({"type": "http", "headers": [(b"authorization", bearer)]})
        try:
            await authenticator.principal(request)
        except Refusal as refusal:
            return f"{refusal.status_code} {refusal.detail}"
        return ""

    accepted: list[tuple[Any, str, str]] = [
        *((rsa_key, algorithm, "rsa") for algorithm in ("RS256", "RS512", "PS256", "PS384")),
        (rsa_key, "PS256", "rsa-pss"),
        (p256, "ES256", "p256"),
        (p384, "ES384", "p384"),
    ]
    unusable: list[tuple[Any, str, str, str]] = [
        # The key says what it is for.
        (rsa_key, "RS256", "rsa-pss", "no key 'rsa-pss' for RS256"),
        (rsa_key, "RS256", "rsa-enc", "no key 'rsa-enc' for RS256"),
        (rsa_key, "RS256", "rsa-oaep", "no key 'rsa-oaep' for RS256"),
        # A key of one type under the name of another.
        (p256, "ES256", "rsa", "no key 'rsa' for ES256"),
        (p256, "ES256", "p384", "curve"),
        (ed25519, "EdDSA", "ed", "signed with EdDSA are not accepted"),
        (SECRET, "HS256", "oct", "signed with HS256 are not accepted"),
        (None, "none", "rsa", "signed with none are not accepted"),
    ]
    try:
        for case in accepted:
            assert await refused(*case) == "", case
        for *case, words in unusable:
            answer = await refused(*case)
            assert answer.startswith("401 "), case
            assert words in answer, case
    finally:
        keys.server.shutdown()
        keys.server.server_close()


def test_key_set_that_cannot_be_read_fails_closed(settings: Settings) -> None:
    keys = KeyServer()
    key = keys.add("first")
    keys.server.shutdown()
    keys.server.server_close()
    with SidecarProcess(settings, JWT_JWKS_URL=keys.url, **STREAMING_ONLY) as sidecar:
        answer = ask(sidecar.url, f"Bearer {token(key, 'RS256', 'first')}")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"


def test_address_that_is_not_loopback_needs_authentication(settings: Settings) -> None:
    sidecar = SidecarProcess(settings, HOST_ANALYTICS="0.0.0.0")  # noqa: S104
    with pytest.raises(AssertionError, match="ended with 2"):
        sidecar.start()
    assert "HOST_ANALYTICS: 0.0.0.0 is not loopback" in sidecar.text
