"""One shape for every refusal: `{"error": "<HTTP reason>", "message": "<what and what to do>"}`."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from config.logging import REQUEST_ID, fields
from stream_api.request_ids import HEADER

logger = logging.getLogger(__name__)


class ErrorBody(BaseModel):
    """Every error, of every endpoint."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"error": "Not Found", "message": "company acme has no cohort '8c1f7a52-…'"}
            ]
        }
    )
    error: str
    message: str


class Refusal(HTTPException):
    """A request that is answered with an error. `retry_after` is seconds, on 429 and 503."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, message, headers)


def error_body(status: int, message: str) -> dict[str, str]:
    """The body of an error answer."""
    return {"error": HTTPStatus(status).phrase, "message": message}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors that a route answers with."""
    return {status: {"model": ErrorBody} for status in statuses}


def install_error_handlers(app: FastAPI) -> None:
    """Give every error of the application the one shape."""

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if message == HTTPStatus(error.status_code).phrase:
            message += "; see /docs for the paths and methods that exist"
        return JSONResponse(
            error_body(error.status_code, message), error.status_code, headers=error.headers
        )

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "body"
        message = str(first["msg"]).removeprefix("Value error, ")
        return JSONResponse(error_body(400, f"{name}: {message}"), 400)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> JSONResponse:
        logger.error(
            "fault of the server",
            exc_info=error,
            extra=fields(method=request.method, path=request.url.path),
        )
        # Outside of every middleware, so that nobody else names the request here.
        return JSONResponse(
            error_body(500, f"a fault of the server; its log has it as {HEADER}; try again"),
            500,
            headers={HEADER: REQUEST_ID.get()},
        )
