"""Long commands say where they are: a bar on a terminal, lines elsewhere, nothing with --json."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from dataclasses import dataclass

import pytest
from clickhouse_connect.driver.client import Client

from config.settings import Settings
from tests.live.sidecar import SidecarProcess, environment
from tests.live.test_cli import COMMAND, ROOT, SECONDS

EVENTS = 2000


@dataclass(frozen=True)
class Done:
    out: str
    # Lines as they stand when the command is over, and all that was drawn.
    lines: list[str]
    drawn: str


@pytest.fixture
def events(ch: Client) -> None:
    """Rows of two days."""
    ch.command(
        "INSERT INTO events SELECT concat('metrics.x-', toString(number), '-1'), 'metrics.x',"
        " 'acme', NULL, now64(3), now64(3) - toIntervalDay(number % 2), number, '{}'"
        f" FROM numbers({EVENTS})"
    )


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def run_on_terminal(settings: Settings, *arguments: str) -> Done:
    """The command with a terminal of 80 columns as its standard error."""
    terminal, behind = pty.openpty()
    drawn: list[bytes] = []

    def read() -> None:
        # A terminal holds 4 KB: who writes more waits for a reader. It ends with an error.
        try:
            while block := os.read(terminal, 4096):
                drawn.append(block)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment(settings, COLUMNS="80"),
        stdout=subprocess.PIPE,
        stderr=behind,
        text=True,
    ) as process:
        os.close(behind)
        out, _ = process.communicate(timeout=SECONDS)
    reader.join()
    os.close(terminal)
    text = b"".join(drawn).decode()
    assert process.returncode == 0, text
    lines = [line.rpartition("\r")[2].removesuffix("\x1b[K") for line in text.split("\r\n")]
    return Done(out, lines, text)


def bar(text: str) -> str:
    """A finished bar behind a text."""
    return (
        re.escape(text) + r"  \[#{8,24}\] 100%  (\d+\.\d of \d+\.\d MiB|\d+ of \d+ \w+|\d+ of \d+)"
    )


def test_a_backup_a_drill_and_a_restore_show_bars(settings: Settings, events: None) -> None:
    taken = run_on_terminal(settings, "backup", "--full")
    assert taken.lines[0] == "1/3 dumping Postgres"
    assert re.fullmatch(bar("2/3 copying ClickHouse"), taken.lines[1])
    assert re.fullmatch(bar("3/3 reading what it holds"), taken.lines[2])
    assert taken.lines[3:] == [""]
    assert " rows, " in taken.out
    # It is drawn while it grows, not only at the end.
    assert "2/3 copying ClickHouse  [------------------------]   0%" in taken.drawn

    drilled = run_on_terminal(settings, "backups", "drill")
    assert [line.partition("  ")[0] for line in drilled.lines] == [
        "1/3 restoring ClickHouse",
        "2/3 comparing ClickHouse",
        "3/3 restoring and comparing Postgres",
        "",
    ]
    assert "restored whole" in drilled.out


def test_without_a_terminal_it_is_a_line_a_step(settings: Settings, events: None) -> None:
    taken = json.loads((quiet := run(settings, "backup", "--full", "--json")).stdout)
    assert quiet.stderr == ""
    restored = run(settings, "restore", "--backup", taken["id"], "--yes")
    assert restored.stderr.splitlines() == [
        "1/5 restoring ClickHouse",
        "2/5 comparing ClickHouse",
        "3/5 restoring and comparing Postgres",
        "4/5 putting in place what was restored",
        "5/5 applying the ledger of erasures, writing again what the stream has",
    ]
    assert "restored" in restored.stdout


@pytest.fixture
def streams(settings: Settings) -> None:
    """The streams, as a sidecar makes them."""
    sidecar = SidecarProcess(settings)
    sidecar.start()
    sidecar.stop()


def test_an_erasure_shows_its_steps(settings: Settings, events: None, streams: None) -> None:
    run(settings, "publish", "metrics.x", '{"companyId": "acme"}', "--count", "3")
    erased = run_on_terminal(settings, "erase", "company", "acme", "--yes")
    assert erased.lines[0] == "1/5 waiting for what a sink holds"
    assert re.fullmatch(bar("2/5 looking through the streams"), erased.lines[1])
    assert re.fullmatch(bar("3/5 deleting messages"), erased.lines[2])
    assert "3 of 3 messages" in erased.lines[2]
    assert any(re.fullmatch(bar("4/5 deleting rows"), line) for line in erased.lines)
    assert erased.lines[-2] == "5/5 looking through the streams"
    assert "nothing is left" in erased.out
    quiet = run(settings, "erase", "company", "acme", "--yes", "--json")
    assert quiet.stderr == ""
