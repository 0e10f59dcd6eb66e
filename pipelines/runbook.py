"""What to do when something fails, where Dagster's page of it shows it: sections of `docs/`."""

from __future__ import annotations

import posixpath
import re
import textwrap
from pathlib import Path

import dagster as dg

DOCS = Path(__file__).parents[1] / "docs"
# Dagster wraps no lines of metadata; a window of 1,500 pixels shows so many characters.
SHOWN_COLUMNS = 62
_HEADING = re.compile(r"^(#{1,6}) (.+)$")
_FENCE = "```"
_LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")


def when_it_fails(target: str) -> dict[str, dg.MarkdownMetadataValue]:
    """The metadata entry `when_it_fails` of an asset.

    Args:
        target: page and anchor below `docs`, as `runbook/backups.md#a-backup-failed`.
    """
    return {"when_it_fails": dg.MetadataValue.md(read_section(target))}


def read_section(target: str) -> str:
    """The section's Markdown, below its heading and up to the next one of its level.

    Links into the documentation become their text and page, since Dagster's pages stand elsewhere.

    Raises:
        FileNotFoundError: there is no such page.
        ValueError: the page has no such section.
    """
    page, _, anchor = target.partition("#")
    path = DOCS / page
    level, lines, fenced = 0, [f"`docs/{target}`"], False
    for line in path.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith(_FENCE)
        heading = None if fenced else _HEADING.match(line)
        if heading and level and len(heading[1]) <= level:
            break
        if level:
            lines.append(line)
        elif heading and _anchor(heading[2]) == anchor:
            level = len(heading[1])
    if not level:
        raise ValueError(f"docs/{page} has no section {anchor}")

    def shown(link: re.Match[str]) -> str:
        text, there = link.groups()
        if "://" in there:
            return link[0]
        where = (
            page + there
            if there.startswith("#")
            else posixpath.join(posixpath.dirname(page), there)
        )
        return f"{text} (`{posixpath.normpath(f'docs/{where}')}`)"

    return "\n\n".join(_wrap(block) for block in _blocks(_LINK.sub(shown, "\n".join(lines))))


def _blocks(text: str) -> list[str]:
    """What blank lines separate; a fence with its blank lines is one."""
    parts = re.split(r"^(```.*?^```)$", text, flags=re.MULTILINE | re.DOTALL)
    blocks = [
        block
        for number, part in enumerate(parts)
        for block in ([part] if number % 2 else re.split(r"\n\s*\n", part))
    ]
    return [block.strip("\n") for block in blocks if block.strip()]


def _wrap(block: str) -> str:
    """A paragraph in lines as long as Dagster shows them whole; anything else as it is."""
    if block.startswith((_FENCE, "|", "-", "#", "1.")):
        return block
    return textwrap.fill(block, SHOWN_COLUMNS, break_long_words=False, break_on_hyphens=False)


def _anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
