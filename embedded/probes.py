"""Readiness of servers that speak HTTP: one attempt, at most a second, never an exception."""

from __future__ import annotations

import http.client
import socket
from http import HTTPStatus

ANSWER_SECONDS = 1.0
HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HTTP2_EMPTY_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HTTP2_FRAME_HEADER_BYTES = 9
HTTP2_FRAME_TYPE_SETTINGS = 4


def get(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    """Status and body of one GET; None when nothing answered in time."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def answers_ok(host: str, port: int, path: str) -> bool:
    """Whether a GET is answered by 200."""
    answer = get(host, port, path)
    return answer is not None and answer[0] == HTTPStatus.OK


def answers_http2(host: str, port: int) -> bool:
    """Whether a gRPC server accepts connections: it opens each with its settings frame."""
    try:
        with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(HTTP2_PREFACE + HTTP2_EMPTY_SETTINGS)
            header = connection.recv(HTTP2_FRAME_HEADER_BYTES, socket.MSG_WAITALL)
            return len(header) == HTTP2_FRAME_HEADER_BYTES and (
                header[3] == HTTP2_FRAME_TYPE_SETTINGS
            )
    except OSError:
        return False
