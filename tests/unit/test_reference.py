"""The committed pages of `docs/reference` are what the code says now."""

from __future__ import annotations

import pytest

from config import Settings
from reference.pages import FOLDER, pages

PAGES = pages()


def test_no_page_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(PAGES)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == PAGES[name], "run `make reference`"


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, one in Settings.model_fields.items() if not one.description] == []
