"""Every page of the documentation: links lead somewhere, and the index knows every page."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.markdown import anchors, links

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
