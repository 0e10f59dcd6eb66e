"""`settings.md`: every environment variable, out of `config.settings.Settings`."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from config import Settings
from config.settings import SECRET_VARIABLES, URL_SCHEMES
from reference.markdown import code, table
from reference.schema import values

HEAD = """# Settings

Environment variables, or lines of a file `.env` (the environment wins). An empty value counts as
unset. A value that can't be used is one line that names the variable, before anything starts. Which
of them `make up` derives from its ports is said in [.env.example](../../.env.example).

"""


def page() -> str:
    """One row a setting, in the order of the code."""
    properties = Settings.model_json_schema()["properties"]
    rows = [
        (code(name.upper()), code(_default(name)), _values(name, properties[name]), _meaning(name))
        for name in Settings.model_fields
    ]
    return HEAD + table(("Setting", "Default", "Values", "Meaning"), rows)


def _default(name: str) -> str:
    default = Settings.model_fields[name].default
    if isinstance(default, SecretStr):
        return default.get_secret_value()
    if isinstance(default, bool):
        return str(default).lower()
    return "" if default is None else str(default)


def _values(name: str, shape: dict[str, Any]) -> str:
    if name in URL_SCHEMES:
        return f"URL, {' or '.join(f'`{scheme}://`' for scheme in URL_SCHEMES[name])}"
    return values(shape)


def _meaning(name: str) -> str:
    meaning = str(Settings.model_fields[name].description)
    return f"{meaning} Never shown." if name.upper() in SECRET_VARIABLES else meaning
