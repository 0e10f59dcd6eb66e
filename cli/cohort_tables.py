"""Answers of the cohort API as tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from cli.table import minutes_of, text_table

Rows = Sequence[dict[str, Any]]


def cohorts(found: Rows) -> str:
    """A line a cohort."""
    if not found:
        return "no cohorts; make one with `analytics cohort create`"
    table = text_table(
        ("COHORT", "MEMBERS", "CHANGED", "NAME"),
        [
            (one["cohortId"], one["members"], minutes_of(one["updatedAt"]), one["name"])
            for one in found
        ],
    )
    errors = [f"{one['name']}: {one['filterError']}" for one in found if one["filterError"]]
    return "\n".join([table, *(f"members do not follow the filters of {one}" for one in errors)])


def cohort(one: dict[str, Any], overview: dict[str, Any]) -> str:
    """What there is to know of a cohort, and its metrics in one period."""
    facts = [
        ("id", one["cohortId"]),
        ("company", one["companyId"]),
        ("name", one["name"]),
        ("description", one["description"]),
        ("filters", json.dumps(one["filters"], ensure_ascii=False)),
        ("filter error", one["filterError"]),
        ("members", one["members"]),
        ("created", f"{minutes_of(one['createdAt'])} by {one['createdBy'] or 'SQL'}"),
        ("changed", minutes_of(one["updatedAt"])),
    ]
    lines = [f"{name:<13}{value}" for name, value in facts if value is not None]
    if overview["metrics"]:
        names = (f"METRIC IN {overview['periodStart']}", "VALUE")
        lines += ["", text_table(names, sorted(overview["metrics"].items()))]
    else:
        lines += ["", "no metrics yet"]
    return "\n".join(lines)


def members(found: Rows, explained: bool) -> str:
    """A line a member; with the reasons behind it when they were asked for."""
    if not found:
        return "no members"
    names = ("USER", "JOINED", "BY", *(("WHY",) if explained else ()))
    return text_table(
        names,
        [
            (
                *(one["userId"], minutes_of(one["joinedAt"]), one["joinedBy"]),
                *((_why(one["why"]),) if explained else ()),
            )
            for one in found
        ],
    )


def metrics(found: Rows) -> str:
    """A line a period."""
    if not found:
        return "no data"
    columns = {
        **{"periodStart": "PERIOD", "avgValue": "MEAN", "sampleSize": "USERS"},
        **{"p50": "P50", "p75": "P75", "p95": "P95"},
        **{"minValue": "MIN", "maxValue": "MAX", "stdDev": "STD DEV"},
    }
    rows = [tuple(row[name] for name in columns) for row in found]
    return text_table(tuple(columns.values()), rows)


def comparison(found: dict[str, Any], asked: int) -> str:
    """Cohorts by rank, then the pairs whose difference is most likely no chance first.

    `asked` is how many cohorts were to be compared: one without data is in no answer.
    """
    if found["periodStart"] is None:
        return f"no data of {found['metricName']}"
    ranked = text_table(
        ("RANK", "MEAN", "95 % INTERVAL", "STD DEV", "USERS", "COHORT"),
        [
            (
                *(one["rank"], one["value"], _interval(one["ci95"])),
                *(one["stdDev"], one["sampleSize"]),
                one["cohortName"] + (" (small sample)" if one.get("smallSample") else ""),
            )
            for one in found["cohorts"]
        ],
    )
    lines = [f"{found['metricName']} in {found['periodStart']}", "", ranked]
    if missing := asked - len(found["cohorts"]):
        lines.append(f"{missing} more without data there; a new cohort has it within a minute")
    if found["pairs"]:
        lines += ["", _pairs(found)]
    return "\n".join(lines)


def _pairs(found: dict[str, Any]) -> str:
    names = {one["cohortId"]: one["cohortName"] for one in found["cohorts"]}
    # None is no probability that there is: it comes last.
    pairs = sorted(found["pairs"], key=lambda one: 2 if (p := one["pAdjusted"]) is None else p)
    return text_table(
        ("DIFFERENCE", "95 % INTERVAL", "EFFECT", "P (HOLM)", "PAIR"),
        [
            (
                *(one["difference"], _interval(one["ci95"])),
                *(one["effectSize"], one["pAdjusted"]),
                f"{names.get(one['a'], one['a'])} - {names.get(one['b'], one['b'])}",
            )
            for one in pairs
        ],
    )


def _interval(ends: Sequence[float] | None) -> str | None:
    return None if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"


def _why(why: dict[str, Any]) -> str:
    parts = [_part(**part) for part in why["parts"]]
    who = "filter" if why["by"] == "filter" else "added by a person"
    return f"{who}: {', '.join(parts)}" if parts else who


def _part(key: str, wanted: object, actual: str | None, matched: bool) -> str:
    """`language is uk`, or `language is en, not "uk"`; a `not` has no value of its own."""
    asked = json.dumps(wanted, ensure_ascii=False)
    if key.rpartition(".")[2] == "not":
        return f"{key} {asked}: {'yes' if matched else 'no'}"
    return f"{key} is {actual or 'unknown'}" + ("" if matched else f", not {asked}")
