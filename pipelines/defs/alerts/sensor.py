"""The evaluator: every 30 s it looks, decides and tells, without starting a run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import dagster as dg
import httpx
import psycopg

from config.addresses import api_url
from pipelines.databases import Databases, SettingsReader
from pipelines.defs.alerts.condition import Condition
from pipelines.defs.alerts.evaluation import Look, evaluate
from pipelines.defs.alerts.masking import mask
from pipelines.defs.alerts.receiver import receiver_of
from pipelines.defs.alerts.sources import sidecar
from pipelines.defs.alerts.sources.checks import failed_checks
from pipelines.defs.alerts.sources.freshness import stale_assets
from pipelines.defs.alerts.sources.letters import new_letters
from pipelines.defs.alerts.sources.runs import failed_runs
from pipelines.defs.alerts.sources.stream import sink_troubles
from pipelines.defs.alerts.sources.ticks import failed_ticks
from pipelines.defs.alerts.sources.views import stale_views
from pipelines.defs.materialized_views.assets import VIEWS
from pipelines.event_stream import EventStreams

NAME = "alerts_sensor"
SENSOR_SECONDS = 30


@dg.sensor(
    name=NAME,
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Looks for failed runs, ticks and checks, stale assets and views, sink lag, dead "
    "letters and failing streams; keeps the table alerts and tells ALERT_WEBHOOK_URL, or the log. "
    "A tick that fails could not tell it, or could not read the table; the next one tries again.",
)
def alerts_sensor(
    context: dg.SensorEvaluationContext,
    databases: dg.ResourceParam[Databases],
    event_streams: dg.ResourceParam[EventStreams],
    read_settings: dg.ResourceParam[SettingsReader],
) -> dg.SensorResult | dg.SkipReason:
    settings, instance = read_settings(), context.instance
    if context.repository_def is None:
        raise ValueError("a sensor is evaluated with its repository")
    graph, now = context.repository_def.asset_graph, datetime.now(UTC)
    watch = SidecarWatch(api_url(settings), context.cursor)
    # Views have alerts of their own, which know their cadence.
    policed = [
        node.key
        for node in graph.asset_nodes
        if node.freshness_policy is not None and node.key.path[-1] not in VIEWS
    ]
    looks: dict[str, Look] = {
        "run": partial(failed_runs, instance, now),
        "tick": partial(failed_ticks, instance, _started_by(context.repository_def), now),
        "check": partial(failed_checks, instance, graph.asset_check_keys, now),
        "freshness": partial(stale_assets, instance, policed, now),
        "view": partial(_views, databases),
    }
    if settings.clickhouse_enabled:
        looks["stream"] = partial(_stream, event_streams)
        looks["letters"] = partial(_letters, databases)
    if settings.streaming_enabled:
        looks["sidecar"] = watch.look
    try:
        with databases.postgres() as pg:
            tick = evaluate(
                pg, looks, receiver_of(settings), lambda text: mask(text, settings), now
            )
    except psycopg.errors.UndefinedTable:
        return dg.SkipReason("the migrations are not applied yet")
    for name, error in tick.unchecked.items():
        context.log.error(f"{name} could not be checked: {error}")
    context.log.info(tick.summary)
    return dg.SensorResult(skip_reason=tick.summary, cursor=watch.cursor)


def _started_by(repository: dg.RepositoryDefinition) -> dict[str, str | None]:
    """Schedules and sensors to look at, with the job of a schedule. Not this sensor: a tick that
    could tell that an earlier one failed has made it good.
    """
    return {
        **{one.name: one.job_name for one in repository.schedule_defs},
        **{one.name: None for one in repository.sensor_defs if one.name != NAME},
    }


class SidecarWatch:
    """The sidecar's counters over the last minutes, kept in the sensor's cursor."""

    def __init__(self, address: str, cursor: str | None) -> None:
        self._address = address
        self._samples = [sidecar.Sample(*one) for one in json.loads(cursor or "[]")]

    @property
    def cursor(self) -> str:
        """What the next tick goes on with."""
        return json.dumps(self._samples)

    def look(self) -> Iterator[Condition]:
        """Take a sample, judge them all."""
        try:
            newest = sidecar.read_sample(self._address, time.time())
        except httpx.HTTPError as error:
            yield sidecar.away(self._address, error)
            return
        self._samples = sidecar.keep(self._samples, newest)
        yield from sidecar.failing_streams(self._samples)


def _views(databases: Databases) -> Iterator[Condition]:
    with databases.postgres() as pg:
        yield from stale_views(pg)


def _letters(databases: Databases) -> Iterator[Condition]:
    with databases.clickhouse() as ch:
        yield from new_letters(ch)


def _stream(event_streams: EventStreams) -> Iterator[Condition]:
    with event_streams.open() as stream:
        yield from sink_troubles(stream)
