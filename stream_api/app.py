"""The application: a table of contents of the sidecar's routes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stream_api.errors import install_error_handlers
from stream_api.request_ids import HEADER, RequestIds
from stream_api.routes import (
    cohort_comparison,
    cohort_figures,
    cohorts,
    dead_letters,
    health,
    proofs,
    stream,
)
from stream_api.sidecar import Sidecar
from stream_api.telemetry import HttpMetrics
from stream_api.web.routes import router as web_router


def create_app(sidecar: Sidecar) -> FastAPI:
    """The FastAPI application around a sidecar, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await sidecar.start()
        try:
            yield
        finally:
            await sidecar.stop()

    app = DescribedApp(
        title="Impact analytics",
        summary="Live events, cohort figures and health of one sidecar",
        lifespan=lifespan,
    )
    app.state.sidecar = sidecar
    install_error_handlers(app)
    app.include_router(stream.router)
    # Before the cohorts themselves, whose /cohort/{id} would take the words for ids.
    app.include_router(cohort_comparison.router)
    app.include_router(cohort_figures.router)
    app.include_router(cohorts.router)
    app.include_router(dead_letters.router)
    app.include_router(proofs.router)
    app.include_router(health.router)
    app.include_router(web_router)
    app.add_middleware(RouteTimes, metrics=sidecar.http_metrics)
    if sidecar.settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(sidecar.settings.origins),
            allow_credentials=True,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID", HEADER],
            expose_headers=["Retry-After", HEADER],
        )
    # The outermost: a preflight has an id too.
    app.add_middleware(RequestIds)
    return app


class DescribedApp(FastAPI):
    """Describes no 422: what can't be parsed is answered by 400 here (`stream_api.errors`)."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        return document


class RouteTimes:
    """Measures the time to the head of each answer, by route. Plain ASGI: it wraps no body."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The route's template, so that ids make no labels of their own.
                route = getattr(scope.get("route"), "path", "unknown")
                self._metrics.seconds.labels(
                    scope["method"] if scope["method"] in METHODS else "other",
                    route,
                    str(message["status"]),
                ).observe(time.perf_counter() - started)
            await send(message)

        await self._app(scope, receive, observed)


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
