"""Queries of the dashboards and alerts, as Grafana and Prometheus read them from `deploy/`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

DEPLOY = Path(__file__).parents[3] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
FILES = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
# Prometheus makes these two itself, about its targets and its alerts.
ITS_OWN = {"up", "ALERTS"}
GRAFANA_VARIABLE = re.compile(r"\$\w+|\$\{")


@dataclass(frozen=True)
class Query:
    """One query of one panel."""

    place: str
    source: str
    text: str
    series: bool

    def bound(self, **values: object) -> str:
        """The text with Grafana's variables as it would send them; none may be left."""
        text = self.text
        for name, value in values.items():
            text = text.replace(f"${name}", str(value))
        assert not GRAFANA_VARIABLE.search(text), f"{self.place}: unknown variable in {text}"
        return text


def panels(file: Path) -> list[dict[str, Any]]:
    """A dashboard's panels, rows included."""
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))["panels"]
    return found


def queries(source: str) -> list[Query]:
    """All queries that go to the data source of that uid."""
    return [
        Query(
            f"{file.stem}: {panel['title']}",
            source,
            target["expr" if source == "prometheus" else "rawSql"],
            panel["type"] == "timeseries",
        )
        for file in FILES
        for panel in panels(file)
        for target in panel.get("targets", [])
        if target["datasource"]["uid"] == source
    ]


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """The metrics that a PromQL expression reads, with their label matchers."""
    found: list[promql_parser.VectorSelector] = []

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            found.append(node.vector_selector)
        elif isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(promql_parser.parse(expression), pre_visit=look)
    yield from found
