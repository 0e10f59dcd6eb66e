"""`api.md`: every call of the sidecar, out of its OpenAPI document and its routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from reference.markdown import code, table
from reference.schema import values
from stream_api.routes.access import get_admin, get_principal

HEAD = """# HTTP API

A running sidecar shows the same at `/docs`, with examples, and as OpenAPI at `/openapi.json`. Every
error is `{"error": "<HTTP reason>", "message": "<what was wrong and what to do>"}`, with
`Retry-After` on 429 and 503.

**Token**: `Authorization: Bearer <token>`, or the cookie `analytics_token`. **Admin**: a token with
the role `system_admin` or `super_admin`. Without `JWT_SECRET` and `JWT_JWKS_URL` nothing is asked
for, everybody is an admin, and `companyId` says which company is meant.
"""


def page(app: FastAPI) -> str:
    """One section a call, then the bodies and answers."""
    document = app.openapi()
    needs = dict(_needs(app))
    calls = [
        _call(method, path, operation, needs[method.upper(), path])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    shapes = sorted(document["components"]["schemas"].items())
    bodies = [_shape(name, shape) for name, shape in shapes]
    return "\n".join([HEAD, *calls, "## Bodies\n", *bodies])


def _call(method: str, path: str, operation: dict[str, Any], needs: str) -> str:
    parameters = [
        (
            code(one["name"]),
            "path" if one["in"] == "path" else "query",
            values(one["schema"]),
            "required" if one.get("required") else code(_text(one["schema"].get("default"))),
            one.get("description", ""),
        )
        for one in operation.get("parameters", ())
    ]
    parts = [
        f"## {method.upper()} {path}",
        operation["description"],
        f"Needs: {needs}.",
        table(("Parameter", "In", "Values", "Default", "Meaning"), parameters).rstrip("\n"),
        f"Body: {_content(operation['requestBody'])}." if "requestBody" in operation else "",
        f"Answers: {', '.join(_answers(operation['responses']))}.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    for status, answer in sorted(responses.items()):
        kind = _content(answer) if int(status) < 400 else ""
        yield f"{status} {HTTPStatus(int(status)).phrase}" + (f" ({kind})" if kind else "")


def _content(holder: dict[str, Any]) -> str:
    """Kinds of a body or an answer; empty for a JSON object that has no model."""
    kinds = []
    for media, body in holder.get("content", {}).items():
        shape = body.get("schema", {})
        if media != "application/json":
            kinds.append(code(media))
        elif "$ref" in shape or "anyOf" in shape:
            kinds.append(values(shape))
    return " or ".join(kinds)


def _shape(name: str, shape: dict[str, Any]) -> str:
    required = shape.get("required", ())
    rows = [
        (
            code(member),
            values(one, nullable=True),
            "always" if member in required else code(_text(one.get("default"))),
            one.get("description", ""),
        )
        for member, one in shape.get("properties", {}).items()
    ]
    members = table(("Member", "Values", "Default", "Meaning"), rows) or f"{values(shape)}\n"
    return f"### {name}\n\n{_paragraph(shape.get('description', ''))}{members}"


def _paragraph(text: str) -> str:
    return f"{text}\n\n" if text else ""


def _text(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def _needs(app: FastAPI) -> Iterator[tuple[tuple[str, str], str]]:
    """Method and path → what a caller must show, by the route's dependencies."""
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute):
            continue
        # With what its routers add to it.
        dependant: Dependant = route.dependant
        calls = set(_dependencies(dependant))
        if get_admin in calls:
            needs = "admin"
        elif get_principal in calls:
            needs = "token"
        elif any(one.alias == "ticket" for one in dependant.query_params):
            needs = "token or ticket"
        else:
            needs = "nothing"
        for method in route.methods or ():
            yield (method, str(route.path_format)), needs


def _dependencies(dependant: Dependant) -> Iterator[Callable[..., Any] | None]:
    for one in dependant.dependencies:
        yield one.call
        yield from _dependencies(one)
