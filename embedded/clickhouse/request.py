"""One HTTP request taken apart: statement, database, parameters, settings, encodings."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from embedded.clickhouse.encodings import choose_encoding
from embedded.clickhouse.errors import BAD_ARGUMENTS, NOT_IMPLEMENTED, ServerError, refuse

DEFAULT_FORMAT = "TabSeparated"

# What ClickHouse's HTTP handler keeps for itself; every other parameter is a setting.
_TRANSPORT = frozenset(
    {
        *("query", "database", "query_id", "default_format", "user", "password", "quota_key"),
        *("session_id", "session_timeout", "session_check", "close_session", "stacktrace", "role"),
        *("buffer_size", "wait_end_of_query", "compress", "decompress", "client_protocol_version"),
        *("enable_http_compression", "http_zlib_compression_level"),
        *("send_progress_in_http_headers", "http_headers_progress_interval_ms"),
    }
)
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')


def bad_request(message: str) -> ServerError:
    """A 400 for a request that can't be understood."""
    return refuse(BAD_ARGUMENTS, "BAD_ARGUMENTS", message)


@dataclass(frozen=True)
class Request:
    """What was asked. `text` is the `query` parameter only; the body is read apart from it.

    `params` are values of `{name:Type}` in ClickHouse's escaped form; `hold` keeps the answer back
    until the query has ended (`wait_end_of_query`), so that an error is always a status.
    """

    text: bytes
    database: str | None
    query_id: str
    default_format: str
    settings: Mapping[str, str]
    params: Mapping[str, str]
    in_session: bool
    hold: bool
    response_encoding: str | None
    body_encoding: str | None
    form_boundary: bytes | None = field(default=None)


def parse_request(method: str, query_string: bytes, headers: Mapping[str, str]) -> Request:
    """Raises ServerError (400, 501) for what can't be understood or isn't supported."""
    try:
        arguments = dict(
            parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict")
        )
    except UnicodeDecodeError:
        raise bad_request("The URL's parameters are not UTF-8.") from None
    except ValueError as error:
        raise bad_request(f"The URL's parameters can't be read: {error}.") from None
    for name in ("compress", "decompress", "role"):
        if arguments.get(name, "0") not in {"", "0"}:
            raise refuse(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                f"The parameter '{name}' is not supported by the embedded ClickHouse.",
            )
    settings = {
        name: value
        for name, value in arguments.items()
        if name not in _TRANSPORT and not name.startswith("param_")
    }
    if method == "GET" and settings.get("readonly", "0") == "0":
        settings["readonly"] = "2"  # as the real server: a GET changes nothing
    query_id = arguments.get("query_id", "")
    compressed = arguments.get("enable_http_compression", "0") not in {"", "0"}
    body_encoding = headers.get("content-encoding", "").strip().lower()
    return Request(
        text=arguments.get("query", "").encode(),
        database=arguments.get("database") or headers.get("x-clickhouse-database") or None,
        query_id=query_id or str(uuid.uuid4()),
        default_format=(
            arguments.get("default_format") or headers.get("x-clickhouse-format") or DEFAULT_FORMAT
        ),
        # The engine's own query ids can't be set; this is how a query is found in the query log.
        settings={"log_comment": query_id, **settings} if query_id else settings,
        params=_bound(arguments),
        in_session=bool(arguments.get("session_id")),
        hold=arguments.get("wait_end_of_query", "0") not in {"", "0"},
        response_encoding=choose_encoding(headers.get("accept-encoding", ""))
        if compressed
        else None,
        body_encoding=body_encoding if body_encoding not in {"", "identity"} else None,
        form_boundary=_form_boundary(headers.get("content-type", "")),
    )


def parse_form(body: bytes, boundary: bytes) -> tuple[bytes, dict[str, str]]:
    """(statement, bound parameters) of a multipart form, which clients use for long parameters.

    Raises ServerError for external tables, which the embedded engine has not, and for bad forms.
    """
    fields: dict[str, str] = {}
    parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(parts) < 3 or not parts[-1].startswith(b"--"):
        raise bad_request("The multipart form is damaged.")
    for part in parts[1:-1]:
        head, separator, value = part.partition(b"\r\n\r\n")
        name = re.search(rb'\bname="([^"]*)"', head)
        if not separator or name is None:
            raise bad_request("The multipart form is damaged.")
        if b"filename=" in head:
            raise refuse(
                NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "External data for query processing is not supported by the embedded ClickHouse.",
            )
        try:
            fields[name[1].decode()] = value.decode()
        except UnicodeDecodeError:
            raise bad_request("A field of the multipart form is not UTF-8.") from None
    return fields.get("query", "").encode(), _bound(fields)


def _bound(arguments: Mapping[str, str]) -> dict[str, str]:
    prefix = "param_"
    return {k[len(prefix) :]: v for k, v in arguments.items() if k.startswith(prefix)}


def _form_boundary(content_type: str) -> bytes | None:
    if not content_type.lower().startswith("multipart/form-data"):
        return None
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise bad_request("The multipart form names no boundary.")
    return found[1].encode()
