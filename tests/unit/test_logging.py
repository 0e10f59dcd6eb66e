"""Log lines: a message for people, then what programs look for, and always one line."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from io import StringIO

import pytest

from config.logging import REQUEST_ID, configure_logging, fields

logger = logging.getLogger("tests.logging")
TIME = re.compile(r" time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    for handler in handlers:
        root.removeHandler(handler)
    configure_logging("analytics")
    yield written
    root.handlers[:], root.level = handlers, level


def test_a_plain_line_of_information_is_the_message_alone(lines: StringIO) -> None:
    logger.info("SSE streaming initialized")
    assert lines.getvalue() == "[analytics] SSE streaming initialized\n"


def test_a_warning_has_its_level_its_fields_and_its_time(lines: StringIO) -> None:
    logger.warning(
        "dead letter", extra=fields(event="metrics.x-7-1699999999999", reason="not_json")
    )
    line = lines.getvalue().rstrip("\n")
    assert TIME.search(line)
    assert TIME.sub("", line) == (
        "[analytics] WARNING: dead letter event=metrics.x-7-1699999999999 reason=not_json"
    )


def test_a_request_is_named_in_every_line_of_it(lines: StringIO) -> None:
    token = REQUEST_ID.set("abc-1")
    try:
        logger.info("first")
        logger.warning("second")
    finally:
        REQUEST_ID.reset(token)
    logger.info("third")
    first, second, third = lines.getvalue().splitlines()
    assert " request=abc-1" in first
    assert " request=abc-1" in second
    assert "request" not in third


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("two words", 'detail="two words"'),
        ("a\nevent=forged", r'detail="a\nevent=forged"'),
        ('say "no"', r'detail="say \"no\""'),
        ("a=b", 'detail="a=b"'),
        ("", 'detail=""'),
    ],
)
def test_a_value_cannot_pass_for_another_field(lines: StringIO, value: str, written: str) -> None:
    logger.warning("odd\nmessage", extra=fields(detail=value))
    (line,) = lines.getvalue().splitlines()
    assert line.startswith(f"[analytics] WARNING: odd\\nmessage {written} time=")
