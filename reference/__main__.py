"""Writes the pages; `tests/unit/test_reference.py` fails when one differs from the code."""

from __future__ import annotations

from reference.pages import FOLDER, pages


def main() -> None:
    """Write every page that has changed, and say which."""
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")


if __name__ == "__main__":
    main()
