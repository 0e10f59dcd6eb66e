"""What a JSON schema allows, in a few words."""

from __future__ import annotations

import json
from typing import Any

BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "items at least",
    "maxItems": "items at most",
}
FORMATS = {"date": "date", "date-time": "time, ISO 8601", "path": "path"}
KINDS = {"string": "text", "null": "null"}


def values(shape: dict[str, Any], *, nullable: bool = False) -> str:
    """Type and bounds of a value: `integer, at least 1, at most 100`.

    `nullable`: that a value may be null is said; a parameter that is null is one that is left out.
    """
    if options := shape.get("anyOf"):
        return " or ".join(values(one) for one in options if nullable or one.get("type") != "null")
    if "$ref" in shape:
        name = str(shape["$ref"]).rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in shape or "const" in shape:
        allowed = shape.get("enum", [shape.get("const")])
        return ", ".join(f"`{json.dumps(one).strip(chr(34))}`" for one in allowed)
    kind = str(shape.get("type", "anything"))
    if kind == "array":
        kind = f"list of {values(shape['items'])}" if "items" in shape else "list"
    kind = FORMATS.get(shape.get("format", ""), KINDS.get(kind, kind))
    bounds = [f"{word} {_number(shape[name])}" for name, word in BOUNDS.items() if name in shape]
    pattern = [f"matches `{shape['pattern']}`"] if "pattern" in shape else []
    return ", ".join([kind, *bounds, *pattern])


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
