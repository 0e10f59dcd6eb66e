"""Shell completion, as a shell asks for it."""

from __future__ import annotations

import pytest
from cli_outcome import Analytics


@pytest.mark.parametrize(
    ("typed", "word", "offered"),
    [
        ("analytics do", 1, ["doctor"]),
        ("analytics cohort m", 2, ["members", "metrics"]),
        ("analytics doctor --pr", 2, ["--probe"]),
    ],
)
def test_what_is_typed_is_completed(
    analytics: Analytics,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    word: int,
    offered: list[str],
) -> None:
    monkeypatch.setenv("_ANALYTICS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(word))
    outcome = analytics()
    assert (outcome.code, outcome.out.split()) == (0, offered)
