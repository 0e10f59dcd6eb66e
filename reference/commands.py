"""`commands.md`: the command line, out of Typer's own tree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from cli.__main__ import app
from reference.markdown import code, table

HEAD = """# Commands

`analytics` is `.venv/bin/analytics`. `analytics COMMAND --help` says the same. Exit codes: 0 done,
1 refused or failed, with one line that says what to do, 2 wrong usage or a setting that can't be
used, 130 interrupted. Completion for your shell: `analytics --install-completion`.
"""


def page() -> str:
    """One section a command, in the order of `analytics --help`."""
    return HEAD + "".join(_sections(typer.main.get_command(app), "analytics"))


def _sections(command: Any, path: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, one in command.commands.items():
            yield from _sections(one, f"{path} {name}")
        return
    # No command is run: the context only names it. Wide, so that no usage line is cut.
    context = typer.Context(command, info_name=path, terminal_width=1000)
    usage = command.get_usage(context).removeprefix("Usage: ")
    records = [
        record
        for parameter in command.get_params(context)
        if parameter.name != "help" and (record := parameter.get_help_record(context))
    ]
    rows = [(code(name), text) for name, text in records]
    yield f"\n## {path}\n\n{_paragraph(command.help)}\n\n```\n{usage}\n```\n"
    if rows:
        yield "\n" + table(("Argument or option", "Meaning"), rows)


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())
