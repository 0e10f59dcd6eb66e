"""Every block of the tutorial, in order, in a clone, with what it prints, and its pages in a
browser.

Only the ports are others. The clone has this repository's `.venv`, since making one takes a minute,
and thereby this working tree's code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.async_api import Page, async_playwright, expect

from config.settings import variable_names
from embedded.child import wait_until
from embedded.ports import free_port
from tests.live.dashboard.conftest import (
    FLAGS,
    PATIENCE_MS,
    expect_events,
    expect_state,
    find_browser,
)
from tests.live.system import DEFAULT_PORTS, REPOSITORY, at_ports, free_ports

pytestmark = pytest.mark.timeout(500)

TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
STEP = re.compile(r"^```([^\n]+)\n(.*?)^```$|\b[Oo]pen <([^>]+)>", re.MULTILINE | re.DOTALL)
OWN_PAGE = 8000
# As long as a loaded machine needs for the slowest of it, the start.
PATIENCE_SECONDS = 150


class Step(NamedTuple):
    """A block (`words` of its fence, `text`), or an address to open."""

    words: list[str]
    text: str
    address: str


def steps(ports: dict[int, int]) -> list[Step]:
    text = at_ports(TUTORIAL.read_text(encoding="utf-8"), ports)
    found = (match.groups(default="") for match in STEP.finditer(text))
    return [Step(fence.split(), block, address) for fence, block, address in found]


def shown(text: str) -> str:
    """A pattern of what the tutorial shows; `…` is anything, and as a line any number of them."""
    return "".join(
        r"(?:.*\n)*" if line == "…\n" else re.escape(line).replace("…", ".*")
        for line in text.splitlines(keepends=True)
    )


class Terminals:
    """A person's terminals: commands that end run in order, others stay until the end."""

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self._cwd = folder
        self._environment = {
            **{name: os.environ[name] for name in os.environ.keys() - set(variable_names())},
            **variables,
        }
        self._staying: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, command: str) -> tuple[int, str]:
        """Exit code and output; the next command begins in the folder where this one ended."""
        where = self.folder / "where"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", f"{command}pwd >'{where}'"],
            cwd=self._cwd,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode == 0:
            self._cwd = Path(where.read_text().strip())
        return done.returncode, done.stdout + done.stderr

    def stay(self, name: str, command: str) -> None:
        """Start a command in a terminal of its own."""
        with (self.folder / name).open("wb") as output:
            self._staying[name] = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self._cwd,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def printed(self, name: str) -> str:
        """What the terminal shows by now."""
        return (self.folder / name).read_text(encoding="utf-8")

    def close(self) -> None:
        with contextlib.ExitStack() as ending:
            for process in self._staying.values():
                ending.callback(process.wait, 30)
                ending.callback(process.terminate)


@pytest.fixture
def free() -> dict[str, int]:
    """A port for each part, by the name of its setting."""
    return free_ports()


@pytest.fixture
def ports(free: dict[str, int]) -> dict[int, int]:
    """The tutorial's ports → this test's."""
    return {OWN_PAGE: free_port()} | {one: free[name] for one, name in DEFAULT_PORTS.items()}


@pytest.fixture
def terminals(free: dict[str, int]) -> Iterator[Terminals]:
    folder = Path(tempfile.mkdtemp(prefix="analytics-tutorial-"))
    folder.chmod(0o755)  # as root, Postgres has an account of its own
    terminals = Terminals(
        folder,
        {
            "REPOSITORY": str(REPOSITORY),
            # Modules come from `.venv`, not out of the clone's folder.
            "PYTHONSAFEPATH": "1",
            "PYTHONUNBUFFERED": "1",
            **{name: str(port) for name, port in free.items()},
        },
    )
    try:
        yield terminals
    finally:
        terminals.close()
        shutil.rmtree(folder, ignore_errors=True)


def lend_environment(clone: Path) -> None:
    """Our `.venv` in the clone, with the mark by which `bin/make-venv` knows that it is made."""
    (clone / ".venv").mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "made-from":
            (clone / ".venv" / entry.name).symlink_to(entry)
    mark = 'echo "$(cat requirements.lock pyproject.toml bin/make-venv | cksum) $PWD"'
    done = subprocess.run(["sh", "-c", mark], cwd=clone, capture_output=True, check=True)
    (clone / ".venv" / "made-from").write_bytes(done.stdout)


def read_along(terminals: Terminals, words: list[str], text: str, last: tuple[str, str]) -> None:
    """What is shown has been printed, by the last command or in a terminal that stays."""
    if len(words) == 1:
        assert re.fullmatch(shown(text), last[1]), f"{last[0]}prints\n{last[1]}\nnot\n{text}"
        return
    fits = wait_until(lambda: re.match(shown(text), terminals.printed(words[1])), PATIENCE_SECONDS)
    assert fits, f"{words[1]} prints\n{terminals.printed(words[1])}\nnot\n{text}"


def type_in(terminals: Terminals, words: list[str], text: str, expected: str) -> str:
    """Run one block; its output. One to be repeated is repeated until it prints what is shown."""
    code, said = terminals.run(text)
    if words[1:] == ["again"]:

        def fits() -> bool:
            nonlocal code, said
            if not re.fullmatch(shown(expected), said):
                code, said = terminals.run(text)
            return re.fullmatch(shown(expected), said) is not None

        wait_until(fits, PATIENCE_SECONDS)
    assert code == 0, f"{text}{said}"
    if text.startswith("git clone"):
        lend_environment(terminals.folder / "impact-analytics")
    return said


async def test_every_block_of_the_tutorial_runs(
    terminals: Terminals, ports: dict[int, int]
) -> None:
    expect.set_options(timeout=PATIENCE_MS)
    pages: list[Page] = []
    last = ("", "")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(), args=[*FLAGS])
        for (words, text, address), following in pairwise([*steps(ports), Step([], "", "")]):
            if address:
                pages.append(await browser.new_page())
                await pages[-1].goto(address)
                await expect_live(pages[-1])
            elif words[0] == "text":
                await asyncio.to_thread(read_along, terminals, words, text, last)
            elif words[1:] in ([], ["again"]):
                said = await asyncio.to_thread(type_in, terminals, words, text, following.text)
                last = (text, said)
            else:
                terminals.stay(words[1], text)
        demo, company, own = pages
        await expect(demo.locator("#main")).not_to_have_attribute("data-events", "0")
        await expect_events(company, 14)
        card = company.locator('.card[data-metric="hours_mentored"] [data-part=value]')
        await expect(card).to_have_text("42")
        await expect(own.locator("#last")).to_have_text("42")
        await expect(own.locator("#events li")).to_have_text(["hours_mentored: 42"])
        await browser.close()


async def expect_live(page: Page) -> None:
    """Both kinds of page say that they are connected before anything is published to them."""
    if await page.locator("#connection").count():
        await expect_state(page, "live")
    else:
        await expect(page.locator("#state")).to_have_text("live")
