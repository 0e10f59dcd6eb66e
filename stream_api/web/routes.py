"""Serves the dashboard: the page at `/` and its files under `/assets/`.

Only the names listed here are served. Every answer carries an entity tag, and browsers ask again
each time: the files keep their names over releases, and a 304 costs less than a stale page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter, HTTPException, Request, Response

from stream_api.entity_tag import names_tag

# Scripts and styles come from files of this origin only. uPlot sets styles through the CSSOM,
# which `style-src` does not govern, so nothing has to be loosened for it.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

PAGE: Final = "index.html"
OUR_ASSETS: Final = frozenset(
    {
        "cohort-data.js",
        "cohort-panel.js",
        "cohort-tables.js",
        "companies.js",
        "connection-words.js",
        "dashboard.css",
        "dashboard.js",
        "event-feed.js",
        "favicon.svg",
        "format.js",
        "health.js",
        "interval-plot.js",
        "metric-card.js",
        "metric-grid.js",
        "metric-series.js",
        "session.js",
        "sign-in.js",
        "snapshot.js",
        "stream-backoff.js",
        "stream-client.js",
        "stream-figures.js",
        "stream-position.js",
        "stream-request.js",
        "stream-tickets.js",
    }
)
# The charting library, in the folder `vendor` of the package youplot.
CHART_ASSETS: Final = frozenset({"uplot.iife.min.js", "uplot.min.css"})

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Asset:
    """One file in memory. `etag` is quoted, as it stands in the header."""

    body: bytes
    content_type: str
    etag: str


@router.api_route("/", methods=["GET", "HEAD"])
async def get_page(request: Request) -> Response:
    """The dashboard itself; it takes its company from `?companyId=`."""
    return _answer(request, PAGE)


@router.api_route("/assets/{name}", methods=["GET", "HEAD"])
async def get_asset(request: Request, name: str) -> Response:
    """A file that the page loads."""
    if name not in OUR_ASSETS | CHART_ASSETS:
        raise HTTPException(404, f"no asset is named {name[:100]!r}; the dashboard is at /")
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    asset = load_asset(name)
    headers = {
        "ETag": asset.etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    if names_tag(request.headers.get("if-none-match", ""), asset.etag):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.content_type, headers=headers)


@cache
def load_asset(name: str) -> Asset:
    """The file `name`, read once a process; `name` is one of those listed above."""
    body = _read_chart_asset(name) if name in CHART_ASSETS else _read_own_asset(name)
    tag = hashlib.sha256(body).hexdigest()[:32]
    return Asset(body, CONTENT_TYPES[Path(name).suffix], f'"{tag}"')


def _read_own_asset(name: str) -> bytes:
    return files("stream_api.web").joinpath(name).read_bytes()


def _read_chart_asset(name: str) -> bytes:
    # find_spec locates the package without running it: youplot is a plotting tool for notebooks,
    # and we only serve two of its files.
    spec = find_spec("youplot")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package youplot, which carries the chart library, is missing")
    return (Path(spec.submodule_search_locations[0]) / "vendor" / name).read_bytes()
