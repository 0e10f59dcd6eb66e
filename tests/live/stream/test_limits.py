"""What is refused before a stream starts for lack of room or of a server, and to which origins."""

from __future__ import annotations

import contextlib
from functools import partial

import httpx

from config.settings import Settings
from tests.live.conftest import NatsProcess
from tests.live.sidecar import SidecarProcess
from tests.live.stream.conftest import StartSidecars
from tests.live.stream.unread import UnreadStream
from tests.live.waiting import until

ORIGIN = "https://dashboard.example.com"


def get(sidecar: SidecarProcess, query: str, origin: str | None = None) -> httpx.Response:
    """The head of an answer; a stream that opens is closed at once."""
    headers = {"Origin": origin} if origin else {}
    url = f"{sidecar.url}/stream/updates?{query}"
    with httpx.stream("GET", url, headers=headers) as response:
        if response.status_code != 200:
            response.read()
        return response


def ask(sidecar: SidecarProcess, path: str, method: str = "GET") -> httpx.Response:
    """A whole answer."""
    return httpx.request(method, f"{sidecar.url}{path}")


async def test_streams_over_a_limit_are_refused_until_one_has_gone(
    start_both: StartSidecars,
) -> None:
    for sidecar in start_both(STREAM_MAX_CONNECTIONS="3", STREAM_MAX_CONNECTIONS_PER_COMPANY="2"):
        with contextlib.ExitStack() as stack:
            streams = [UnreadStream(sidecar.url, f"companyId={name}") for name in "aab"]
            for stream in streams:
                stack.callback(stream.socket.close)
            full = get(sidecar, "companyId=c")
            assert (full.status_code, full.headers["retry-after"]) == (429, "5")
            assert "this instance has no room" in full.json()["message"]
            streams[2].socket.close()
            await until(
                partial(ask, sidecar, "/stream/health"),
                lambda health: health.json()["streaming"]["activeConnections"] == 2,
            )
            for companies in ("a", "a,b"):
                refused = get(sidecar, f"companyId={companies}")
                assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
                assert "company a has as many open streams" in refused.json()["message"]
            assert get(sidecar, "companyId=b").status_code == 200
        assert 'analytics_stream_refused_total{status="429"} 3.0' in ask(sidecar, "/metrics").text


def test_streaming_switched_off_leaves_the_other_half_working(settings: Settings) -> None:
    with SidecarProcess(settings, STREAMING_ENABLED="false") as sidecar:
        for method, path in (
            ("GET", "/stream/updates?companyId=c"),
            ("POST", "/stream/ticket"),
            ("GET", "/stream/stats"),
        ):
            answer = ask(sidecar, path, method)
            assert answer.status_code == 501
            assert "STREAMING_ENABLED" in answer.json()["message"]
        health = ask(sidecar, "/stream/health").json()
        assert (health["status"], health["streaming"]["enabled"]) == ("ok", False)
        for path in ("/cohort?companyId=c", "/health"):
            assert ask(sidecar, path).status_code == 200


async def test_without_nats_a_stream_is_refused_with_a_time_to_return(
    start_sidecars: StartSidecars, nats_server: NatsProcess
) -> None:
    (sidecar,) = start_sidecars("stream_api")
    nats_server.process.stop()
    answer = await until(
        lambda: get(sidecar, "companyId=c"), lambda answer: answer.status_code != 200
    )
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    for path in ("/stream/ticket", "/stream/stats?scope=cluster"):
        refused = ask(sidecar, path, "POST" if "ticket" in path else "GET")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert ask(sidecar, "/stream/health").json()["status"] == "degraded"
    nats_server.process.start()
    await until(lambda: get(sidecar, "companyId=c").status_code, lambda status: status == 200)


def test_only_exact_origins_may_read_across_origins(start_both: StartSidecars) -> None:
    for sidecar in start_both(ALLOWED_ORIGINS=f"{ORIGIN}, http://localhost:5173"):
        for query, status in (("companyId=c", 200), ("companyId=a%20b", 400)):
            answer = get(sidecar, query, ORIGIN)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "Origin" in answer.headers["vary"]
            # A page may not see another header than these; our client waits as long as it says.
            assert answer.headers["access-control-expose-headers"] == "Retry-After, X-Request-Id"
        for stranger in (
            "https://dashboard.example.com.evil.org",
            "http://dashboard.example.com",
            "https://dashboard.example.com:8443",
            "null",
        ):
            assert (
                "access-control-allow-origin" not in get(sidecar, "companyId=c", stranger).headers
            )

        def ask_first(origin: str, url: str = sidecar.url) -> httpx.Response:
            return httpx.options(
                f"{url}/stream/updates",
                headers={
                    "Origin": origin,
                    "Access-Control-Request-Method": "GET",
                    "Access-Control-Request-Headers": "authorization,last-event-id",
                },
            )

        allowed = ask_first(ORIGIN)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert allowed.headers["access-control-allow-credentials"] == "true"
        assert "last-event-id" in allowed.headers["access-control-allow-headers"].lower()
        refused = ask_first("https://evil.example.com")
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers
