"""What to do when something fails, where Dagster's page of it shows it: sections of `docs/`."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg

DOCS = Path(__file__).parents[1] / "docs"
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
        return link[0] if "://" in there else f"{text} (`{there}`)"

    return _LINK.sub(shown, "\n".join(lines).rstrip())


def _anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
