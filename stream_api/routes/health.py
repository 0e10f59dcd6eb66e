"""`/health…` and `/metrics`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from stream_api.errors import error_body, refusals
from stream_api.routes.access import SidecarDep

router = APIRouter(tags=["health"])


@router.get("/health")
async def read_health(sidecar: SidecarDep) -> dict[str, Any]:
    """What works and what does not; 200 as long as the process lives."""
    dependencies = sidecar.health.dependencies()
    degraded = "degraded" in dependencies.values()
    return {
        "status": "degraded" if degraded else "ok",
        "service": "analytics",
        "dependencies": dependencies,
        "features": {
            "streaming": sidecar.settings.streaming_enabled,
            "clickhouse": sidecar.settings.clickhouse_enabled,
        },
        "sink": sidecar.health.sink_report(),
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


@router.get("/health/live")
async def read_live() -> dict[str, str]:
    """The process answers; depends on nothing else."""
    return {"status": "ok"}


@router.get("/health/ready", responses=refusals(503))
async def read_ready(sidecar: SidecarDep) -> JSONResponse:
    """Whether a balancer should send traffic here; 503 says why not."""
    reason = sidecar.unready()
    if reason is None:
        return JSONResponse({"status": "ok"})
    return JSONResponse(error_body(503, reason), 503, headers={"Retry-After": "1"})


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def read_metrics(sidecar: SidecarDep) -> Response:
    """Prometheus text."""
    return Response(generate_latest(sidecar.registry), media_type=CONTENT_TYPE_LATEST)
