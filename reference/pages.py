"""All pages, by file name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from config import Settings
from reference import api, commands, metrics, settings
from stream_api.app import create_app
from stream_api.sidecar import Sidecar

FOLDER: Final = Path(__file__).parents[1] / "docs" / "reference"
NOTE: Final = "<!-- Made by `make reference` from the code. Change the code, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """File name → its whole text; nothing is connected to."""
    sidecar = Sidecar(Settings())
    made = {
        "settings.md": settings.page(),
        "metrics.md": metrics.page(sidecar),
        "api.md": api.page(create_app(sidecar)),
        "commands.md": commands.page(),
    }
    return {name: NOTE + text for name, text in made.items()}
