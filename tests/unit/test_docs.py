"""Every page of the documentation: links lead somewhere, and the index knows every page."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli.__main__ import app
from tests.markdown import anchors, blocks, links

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (
        *REPOSITORY.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(REPOSITORY / "benchmarks").glob("*.md"),
        *(REPOSITORY / "tests").rglob("*.md"),
    )
    if "node_modules" not in path.parts
)
ANALYTICS = get_command(app)
# Up to what the shell takes for itself: a pipe, a comment, the end of $(…).
COMMAND = re.compile(r"(?<![\w/-])(?:\.venv/bin/)?analytics ((?:'[^']*'|\"[^\"]*\"|[^|#)\n'\"])+)")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    broken = [
        f"{path.name}#{anchor}"
        for path, anchor in links(REPOSITORY / page)
        if not path.is_relative_to(REPOSITORY)
        or not path.exists()
        or (anchor and anchor not in anchors(path))
    ]
    assert not broken


def test_every_page_can_be_found_from_the_readme() -> None:
    reached: set[Path] = set()
    ahead = [REPOSITORY / "README.md"]
    while ahead:
        page = ahead.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = {path for path, _ in links(page) if path.exists()}
        ahead += [one for one in targets if one.suffix == ".md"]
        # A link to a folder shows its pages.
        ahead += [one for folder in targets if folder.is_dir() for one in folder.glob("*.md")]
    lost = {path.relative_to(REPOSITORY).as_posix() for path in DOCS.rglob("*.md")} - {
        path.relative_to(REPOSITORY).as_posix() for path in reached
    }
    assert not lost


def typed() -> list[str]:
    """What follows `analytics` in each block of commands, once; texts from `<<` are left out."""
    found: dict[str, None] = {}
    for page in PAGES:
        for block in blocks(REPOSITORY / page, "bash"):
            text = re.sub(r"<<'?(\w+)'?(.*)\n(?:.*\n)*?\1\n", r"\2\n", block)
            found.update(dict.fromkeys(COMMAND.findall(re.sub(r"compose exec \S+", "", text))))
    return list(found)


@pytest.mark.parametrize("line", typed())
def test_a_command_of_the_docs_can_be_typed(line: str) -> None:
    """Names, options and the shape of their values; nothing is run."""
    command: Any = ANALYTICS
    words = shlex.split(line)
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    assert words or not hasattr(command, "commands") or command.invoke_without_command
    if words or not hasattr(command, "commands"):
        command.make_context("analytics", words)
