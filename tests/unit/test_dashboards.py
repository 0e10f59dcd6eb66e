"""Dashboards and alerts as files: whole, readable, and of the sources that are provisioned."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.monitoring.dashboards import DEPLOY, FILES, alerts, panels

SOURCES = DEPLOY / "grafana" / "provisioning" / "datasources" / "analytics.yml"
COLUMNS = 24


def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
    return (
        a["x"] < b["x"] + b["w"]
        and b["x"] < a["x"] + a["w"]
        and a["y"] < b["y"] + b["h"]
        and b["y"] < a["y"] + a["h"]
    )


def test_there_is_one_for_each_part_of_the_system() -> None:
    assert [file.stem for file in FILES] == ["backups", "cohorts", "ingestion", "streaming"]
    boards = [json.loads(file.read_text(encoding="utf-8")) for file in FILES]
    assert [board["uid"] for board in boards] == [f"analytics-{file.stem}" for file in FILES]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_panel_says_what_it_shows_and_has_a_place_of_its_own(file: Path) -> None:
    known = {
        source["uid"]: source["type"]
        for source in yaml.safe_load(SOURCES.read_text())["datasources"]
    }
    whole = panels(file)
    assert len({panel["id"] for panel in whole}) == len(whole)
    for one, other in itertools.combinations(whole, 2):
        assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
    for panel in whole:
        place: dict[str, int] = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS, panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        for source in (panel["datasource"], *(one["datasource"] for one in panel["targets"])):
            assert known[source["uid"]] == source["type"]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_type(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description", "check"}
