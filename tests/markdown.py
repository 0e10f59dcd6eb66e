"""What tests read out of pages of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings; a heading that comes again gets a number."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = base = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{base}-{number}"
        found.add(anchor)
    return found


def links(path: Path) -> list[tuple[Path, str]]:
    """Targets inside the repository, pictures too, with their anchors."""
    text = re.sub(r"`[^`\n]+`", "", BLOCK.sub("", path.read_text(encoding="utf-8")))
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text.replace("\n", " ")):
        if "://" not in target:
            name, _, anchor = target.partition("#")
            found.append(((path.parent / name).resolve() if name else path, anchor))
    return found


def blocks(path: Path, kind: str) -> list[str]:
    """Fenced blocks whose first word is `kind`, in their order, without the indent of a list."""
    found = re.findall(
        rf"^( *)```{kind}\b[^\n]*\n(.*?)^ *```$", path.read_text(encoding="utf-8"), re.M | re.S
    )
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]
