"""Which subjects take which, and what a stream takes that is widened."""

from __future__ import annotations

import pytest

from config.subjects import covers
from stream_api.streams import widened


@pytest.mark.parametrize(
    ("wide", "narrow", "covered"),
    [
        ("metrics.>", "metrics.>", True),
        ("metrics.>", "metrics.calculated", True),
        ("metrics.>", "metrics.calculated.v2", True),
        ("metrics.>", "metrics", False),
        ("metrics.>", "vis.x", False),
        ("metrics.*", "metrics.calculated", True),
        ("metrics.*", "metrics.*", True),
        ("metrics.*", "metrics.>", False),
        ("metrics.*", "metrics.calculated.v2", False),
        ("metrics.calculated", "metrics.*", False),
        ("metrics", "metrics", True),
        (">", "metrics", True),
    ],
)
def test_what_covers_what(wide: str, narrow: str, covered: bool) -> None:
    assert covers(wide, narrow) is covered


def test_a_stream_is_widened_and_never_narrowed() -> None:
    assert widened(["metrics.>", "own.>"], ["metrics.x", "vis.>"]) == [
        "metrics.>",
        "own.>",
        "vis.>",
    ]
    assert widened(["metrics.x", "metrics.y", "vis.>"], ["metrics.>"]) == ["vis.>", "metrics.>"]
