"""The command line as a function, with an environment of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_outcome import Analytics, Outcome

from cli.__main__ import main
from config.settings import variable_names


@pytest.fixture
def analytics(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Analytics:
    """Run one command in an empty folder, without any setting of the surrounding shell."""
    monkeypatch.chdir(tmp_path)
    for name in (*variable_names(), "ANALYTICS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> Outcome:
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
