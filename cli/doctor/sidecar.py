"""The sidecar: its health, and what comes through to a dashboard."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx

from cli.api import error_message
from cli.doctor.check import Finding, State, failed, ok, warning
from cli.doctor.runbook import Entry
from cli.doctor.servers import ANSWER_SECONDS, DOCTOR_COMPANY, Servers, certificates
from cli.refusal import Refused, one_line

CONNECTED = b"event: connected"
# A stream's first bytes are written at once; what takes longer waits in somebody's buffer.
CONNECTED_SECONDS = 3.0
SEE_BY_STATUS = {
    401: Entry.STREAM_401,
    403: Entry.STREAM_403,
    429: Entry.STREAM_429,
    503: Entry.STREAM_503,
}


def sidecar_answers(servers: Servers) -> Finding:
    """It is there, and it is ours."""
    try:
        response = servers.get(f"{servers.api}/health")
    except Refused as refusal:
        return failed(
            f"the sidecar gives {refusal}; `make up`, or `python -m stream_api`", Entry.SIDECAR_AWAY
        )
    if _health(response).get("service") != "analytics":
        return failed(
            f"something else answers at {servers.api}; stop it, or set PORT_ANALYTICS",
            Entry.PORT_TAKEN,
        )
    return ok(f"answers at {servers.api}")


def sidecar_is_well(servers: Servers) -> Finding:
    """What it says of itself: dependencies, and whether a balancer should send traffic."""
    health = _health(servers.get(f"{servers.api}/health"))
    degraded = [name for name, state in health["dependencies"].items() if state == "degraded"]
    waiting = health["sink"].get("waitingFor")
    if degraded:
        why = f" (the sink waits: {one_line(waiting)[:150]})" if waiting else ""
        return failed(f"it does not reach {', '.join(degraded)}{why}", Entry.SIDECAR_DEGRADED)
    ready = servers.get(f"{servers.api}/health/ready")
    if not ready.is_success:
        return failed(f"not ready: {error_message(ready)}", Entry.SIDECAR_DEGRADED)
    return ok("ready, and reaches all it needs")


def stream_flows(servers: Servers) -> Finding:
    """A stream through the address that dashboards use: is `connected` there at once?"""
    address = f"{servers.url}/stream/updates"
    finding = _open_stream(servers, address)
    if finding.state is State.FAILED and finding.see is Entry.PROXY_BUFFERS:
        direct = f"{servers.api}/stream/updates"
        if direct != address and _open_stream(servers, direct).state is State.OK:
            return failed(f"{finding.text}; the sidecar itself streams at once", finding.see)
    return finding


def _open_stream(servers: Servers, address: str) -> Finding:
    """Read the stream up to `connected`; in parts, so that nothing waits for its end."""
    began = time.monotonic()
    timeout = httpx.Timeout(ANSWER_SECONDS, read=CONNECTED_SECONDS)
    status = None
    try:
        with httpx.stream(
            "GET",
            address,
            params={"companyId": DOCTOR_COMPANY},
            headers=servers.authorization(),
            timeout=timeout,
            verify=certificates(),
        ) as response:
            status = response.status_code
            if not response.is_success:
                response.read()
                return _refused(servers, response)
            kind = response.headers.get("content-type", "")
            if not kind.startswith("text/event-stream"):
                return failed(
                    f"{address} answers with {kind or 'no type'}, not with a stream of events",
                    Entry.PORT_TAKEN,
                )
            seen = b""
            for part in response.iter_bytes():
                seen += part
                if CONNECTED in seen:
                    milliseconds = (time.monotonic() - began) * 1000
                    return ok(f"connected after {milliseconds:.0f} ms at {address}")
                if time.monotonic() - began > CONNECTED_SECONDS:
                    break
            else:
                return failed(f"{address} ended before `connected`", Entry.NO_EVENTS)
    except httpx.ReadTimeout:
        pass
    except httpx.HTTPError as error:
        if status is None:
            return failed(
                f"no answer at {address} ({one_line(error) or type(error).__name__})",
                Entry.SIDECAR_AWAY,
            )
        return failed(f"{address} was cut: {one_line(error)}", Entry.NO_EVENTS)
    return failed(
        f"nothing came from {address} within {CONNECTED_SECONDS:g} s: something in between "
        "gathers answers; turn its buffering off",
        Entry.PROXY_BUFFERS,
    )


def _refused(servers: Servers, response: httpx.Response) -> Finding:
    status, message = response.status_code, error_message(response)
    if status == 401 and servers.token is None and servers.settings.jwt_secret is None:
        return Finding(
            State.SKIPPED, "tokens come from JWT_JWKS_URL: give one by --token or ANALYTICS_TOKEN"
        )
    if status == 403 and servers.token is not None:
        return Finding(State.SKIPPED, f"the token may not see company {DOCTOR_COMPANY}")
    return failed(
        f"answered {status}: {one_line(message)}", SEE_BY_STATUS.get(status, Entry.NO_EVENTS)
    )


def streams_are_kept(servers: Servers) -> Finding:
    """Streams that were cut as slow or stalled, against all that were opened since the start."""
    counters = {"opened": 0.0, "slow": 0.0, "stalled": 0.0, "refused": 0.0}
    for line in servers.get(f"{servers.api}/metrics").text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == "analytics_stream_opened_total":
            counters["opened"] += float(value)
        elif name.startswith("analytics_stream_closed_total{") and value:
            for reason in ("slow", "stalled"):
                if f'reason="{reason}"' in name:
                    counters[reason] += float(value)
    opened, cut = counters["opened"], counters["slow"] + counters["stalled"]
    text = f"{opened:.0f} streams were opened since its start, {cut:.0f} cut as slow or stalled"
    if cut >= 10 and cut >= 0.05 * opened:
        return warning(f"{text}: a proxy or clients do not keep up", Entry.RECONNECTS)
    return ok(text)


def _health(response: httpx.Response) -> dict[str, Any]:
    try:
        value = json.loads(response.text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
