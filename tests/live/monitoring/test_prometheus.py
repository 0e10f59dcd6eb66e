"""Every PromQL query of dashboards and alerts, asked of a real Prometheus that reads a sidecar."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from embedded.ports import free_port
from tests.live.conftest import temporary_folder
from tests.live.monitoring.dashboards import DEPLOY, ITS_OWN, Query, alerts, queries, selectors
from tests.live.producer import Producer
from tests.live.programs import find_program
from tests.live.sidecar import SidecarProcess, open_stream
from tests.live.waiting import until

FOLDER = DEPLOY / "prometheus"
COMPANY = "watched"
# A rate needs two scrapes; each second one, so that a test can wait for them.
SCRAPES_WANTED = 3
RATE_INTERVAL = "30s"
# A label that a series gets from the scrape, and one of histograms.
GIVEN_LABELS = {"job", "instance", "le", "alertstate", "alertname", "severity"}


@contextmanager
def run_prometheus(target: str) -> Iterator[httpx.Client]:
    """Prometheus with our configuration, at another target and fifteen times as fast."""
    program = find_program("prometheus", "prometheus")
    port = free_port()
    with temporary_folder() as folder:
        text = (FOLDER / "prometheus.yml").read_text()
        for written, here in {
            '"analytics:3007"': f'"{target}"',
            "_interval: 15s": "_interval: 1s",
        }.items():
            assert written in text
            text = text.replace(written, here)
        (folder / "prometheus.yml").write_text(text)
        shutil.copy(FOLDER / "alerts.yml", folder)
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ]
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
                yield client
        finally:
            process.terminate()
            process.wait(20)


def ask(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    """Samples of an instant query; none while Prometheus is not up yet."""
    try:
        answer = prometheus.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if answer.status_code == 503:
        return []
    assert answer.status_code == 200, f"{expression}: {answer.text}"
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


@pytest.fixture
async def prometheus(sidecar: SidecarProcess, producer: Producer) -> AsyncIterator[httpx.Client]:
    """Prometheus beside a sidecar with a stream, stored events, a dead letter and refusals."""
    with run_prometheus(sidecar.url.removeprefix("http://")) as client:
        # Seen before anything happens: an increase is one only against a sample.
        await until(lambda: ask(client, "analytics_stream_opened_total"), bool)
        async with open_stream(sidecar.url, COMPANY) as stream:
            await stream.until_connected()
            await producer.numbers(0, 20, COMPANY)
            await stream.take(20)
            await producer.raw(b"not JSON")
            await producer.nats.flush()
            await asyncio.to_thread(use_api, sidecar.url)
            stored = "analytics_sink_rows_total >= 20 and analytics_sink_lag_events == 0"
            await until(lambda: ask(client, stored), bool)
            await until(
                lambda: ask(client, "count_over_time(analytics_sink_rows_total[1m])"),
                lambda found: bool(found) and float(found[0]["value"][1]) >= SCRAPES_WANTED,
            )
            yield client


def use_api(url: str) -> None:
    """A refused stream, an unknown path, and figures of a cohort, computed and from the cache."""
    with httpx.Client(base_url=url, params={"companyId": COMPANY}, timeout=30) as api:
        assert api.get("/stream/updates", params={"companyId": ""}).status_code == 400
        assert api.get("/absent").status_code == 404
        made = api.post("/cohort", json={"name": "All", "filters": {"language": "uk"}}).json()[
            "cohort"
        ]
        for _ in range(2):
            figures = api.get(f"/cohort/{made['cohortId']}/metrics", params={"metric": "score"})
            assert figures.status_code == 200, figures.text


def read_rules(prometheus: httpx.Client) -> dict[str, Any]:
    """Alerting rules with their state, by name."""
    groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
    return {rule["name"]: rule for group in groups for rule in group["rules"]}


def known_labels(url: str) -> dict[str, set[str]]:
    """Series names of the sidecar's /metrics, each with the labels it has."""
    names: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{url}/metrics").text):
        for sample in family.samples:
            names.setdefault(sample.name, set()).update(sample.labels)
    return names


async def test_dashboards_and_alerts_read_what_the_sidecar_shows(
    prometheus: httpx.Client, sidecar: SidecarProcess
) -> None:
    shown = known_labels(sidecar.url)
    panels = queries("prometheus")
    for query in [*panels, *(Query(r["alert"], "", r["expr"], False) for r in alerts())]:
        for selector in selectors(query.bound(__rate_interval=RATE_INTERVAL)):
            name = selector.name
            assert name in shown.keys() | ITS_OWN, f"{query.place}: there is no metric {name}"
            for matcher in selector.matchers.matchers:
                labels = shown.get(name, set()) | GIVEN_LABELS
                assert matcher.name in labels, f"{query.place}: {name} has no {matcher.name}"
    unseen = shown.keys() - {
        s.name for q in panels for s in selectors(q.bound(__rate_interval="1m"))
    }
    # A histogram is shown by its buckets, and by its count where a panel wants it.
    assert {name for name in unseen if not name.endswith(("_sum", "_count"))} == set()

    # A rate is one only when the series has been scraped twice.
    for query in panels:
        await until(partial(ask, prometheus, query.bound(__rate_interval=RATE_INTERVAL)), bool)

    rules = await until(
        lambda: read_rules(prometheus),
        lambda rules: rules["DeadLetters"]["state"] == "firing",
    )
    assert rules.keys() == {rule["alert"] for rule in alerts()}
    assert {rule["health"] for rule in rules.values()} == {"ok"}
    firing = {name for name, rule in rules.items() if rule["state"] == "firing"}
    assert firing == {"DeadLetters"}
    (letter,) = rules["DeadLetters"]["alerts"]
    assert letter["labels"]["reason"] == "not_json"


async def test_the_log_names_the_event_and_the_answer_its_request(
    sidecar: SidecarProcess, producer: Producer
) -> None:
    await producer.raw(b"not JSON")
    pattern = re.compile(r"WARNING: dead letter event=metrics\.calculated-1-\d+ .*")
    line = (await asyncio.to_thread(sidecar.wait_for_log, pattern))[0]
    assert ' reason=not_json company="" detail=' in line
    async with open_stream(sidecar.url, COMPANY) as stream:
        assert re.fullmatch(r"[0-9a-f]{32}", stream.response.headers["x-request-id"])


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    promtool = find_program("promtool", "prometheus")
    done = subprocess.run(
        [promtool, *arguments], cwd=Path(FOLDER), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
