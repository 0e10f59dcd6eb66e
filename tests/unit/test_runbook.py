"""The runbook: every entry has its parts and is in the index, the doctor knows the way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.doctor.checks import CHECKS, PROBE
from cli.doctor.runbook import FOLDER, Entry
from tests.markdown import anchors, links

REPOSITORY = Path(__file__).parents[2]
RUNBOOK = REPOSITORY / FOLDER
PAGES = sorted(path.name for path in RUNBOOK.glob("*.md"))
TOPICS = [page for page in PAGES if page != "README.md"]
PARTS = ("**Symptom.**", "**Check.**", "**Cause and fix.**")


@pytest.mark.parametrize("entry", Entry)
def test_what_the_doctor_names_exists(entry: Entry) -> None:
    name, _, anchor = entry.value.partition("#")
    assert anchor in anchors(RUNBOOK / name)


@pytest.mark.parametrize("page", TOPICS)
def test_every_entry_has_symptom_check_and_fix(page: str) -> None:
    text = (RUNBOOK / page).read_text(encoding="utf-8")
    entries = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        places = [entry.find(part) for part in PARTS]
        assert -1 not in places, entry.splitlines()[0]
        assert places == sorted(places), entry.splitlines()[0]
        check = entry[places[1] : places[2]]
        assert "```bash\n" in check, entry.splitlines()[0]


def test_every_entry_is_in_the_index() -> None:
    index = {f"{path.name}#{anchor}" for path, anchor in links(RUNBOOK / "README.md") if anchor}
    missing = []
    for page in TOPICS:
        text = (RUNBOOK / page).read_text(encoding="utf-8")
        for heading in re.findall(r"^## (.+)$", text, re.MULTILINE):
            anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            if f"{page}#{anchor}" not in index:
                missing.append(heading)
    assert not missing


def test_checks_have_names_of_their_own_and_need_earlier_ones() -> None:
    seen: set[str] = set()
    for check in (*CHECKS, PROBE):
        assert check.name not in seen
        assert set(check.needs) <= seen
        seen.add(check.name)
