"""What the sidecar tells Prometheus. One registry a process, made with the application.

A labelled counter of a closed list starts with all its values at 0: Prometheus sees no increase in
a series that is born with its first event, so the first dead letter would raise no alert.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from events.accept import Reason
from stream_api.connection import Ending, ResetReason
from stream_api.warehouse import Outage

if TYPE_CHECKING:
    from stream_api.channel import Entry

LATENCY_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
UNSORTED_LATENCIES = 500
REFUSAL_STATUSES = ("400", "401", "403", "429", "501", "503")
REPLAY_SOURCES = ("ring", "clickhouse", "jetstream")
FEED_GAPS = ("sequence_gap", "heartbeats_missed", "reconnected", "nats_away", "fault")


class _Delivered(Collector):
    """What each flush adds to, in plain numbers: the client library's own take 10 us a flush.

    Latencies are sorted into their buckets many at a time: a lone event would find the code for it
    out of the processor's caches.
    """

    def __init__(self) -> None:
        self._flushes = self._deliveries = 0
        self._latencies: list[float] = []
        self._buckets = [0] * (len(LATENCY_BUCKETS) + 1)
        self._seconds = 0.0

    def add(self, entries: list[Entry], deliveries: int) -> None:
        self._flushes += 1
        self._deliveries += deliveries
        now = time.time()
        for entry in entries:
            self._latencies.append(now - entry.ms / 1000)
        if len(self._latencies) > UNSORTED_LATENCIES:
            self._sort()

    def _sort(self) -> None:
        for latency in self._latencies:
            seconds = max(0.0, latency)  # the stream's clock may be ahead of ours
            self._seconds += seconds
            self._buckets[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        self._latencies.clear()

    def collect(self) -> Iterator[Metric]:
        self._sort()
        yield CounterMetricFamily(
            "analytics_stream_events_total", "Events that had a live reader", sum(self._buckets)
        )
        yield CounterMetricFamily(
            "analytics_stream_deliveries_total", "Events written to live streams", self._deliveries
        )
        yield CounterMetricFamily(
            "analytics_stream_flushes_total",
            "Writes a channel made; events over flushes is what pacing gathers",
            self._flushes,
        )
        yield HistogramMetricFamily(
            "analytics_stream_delivery_seconds",
            "Stream time of an event to its write to live readers",
            buckets=list(
                zip(
                    map(floatToGoString, (*LATENCY_BUCKETS, math.inf)),
                    accumulate(self._buckets),
                    strict=True,
                )
            ),
            sum_value=self._seconds,
        )


class StreamMetrics:
    """Counters of the streaming half."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._connections = Gauge("analytics_stream_connections", "Open streams", registry=registry)
        self._opened = Counter("analytics_stream_opened_total", "Streams opened", registry=registry)
        self._closed = Counter(
            "analytics_stream_closed_total",
            "Streams ended, by reason",
            ["reason"],
            registry=registry,
        )
        self._refused = Counter(
            "analytics_stream_refused_total",
            "Streams refused before they began, by HTTP status",
            ["status"],
            registry=registry,
        )
        self._replayed = Counter(
            "analytics_stream_replayed_events_total",
            "Events replayed, by source",
            ["source"],
            registry=registry,
        )
        self._resets = Counter(
            "analytics_stream_resets_total",
            "Resume points that could not be honoured, by reason",
            ["reason"],
            registry=registry,
        )
        self._gaps = Counter(
            "analytics_stream_feed_gaps_total",
            "Times that the reader of the stream started over, by reason",
            ["reason"],
            registry=registry,
        )
        self._rejected = Counter(
            "analytics_stream_rejected_events_total",
            "Messages that were not streamed, by reason",
            ["reason"],
            registry=registry,
        )
        delivered = _Delivered()
        registry.register(delivered)
        self.delivered = delivered.add
        _start_at_zero(self._closed, (ending.value for ending in Ending))
        _start_at_zero(self._refused, REFUSAL_STATUSES)
        _start_at_zero(self._replayed, REPLAY_SOURCES)
        _start_at_zero(self._resets, (reason.value for reason in ResetReason))
        _start_at_zero(self._gaps, FEED_GAPS)
        # The live reader decides before the warehouse does.
        undecided = {Reason.REFUSED_BY_WAREHOUSE}
        _start_at_zero(self._rejected, (r.value for r in Reason if r not in undecided))

    def opened(self) -> None:
        self._opened.inc()
        self._connections.inc()

    def closed(self, ending: Ending) -> None:
        self._connections.dec()
        self._closed.labels(ending.value).inc()

    def refused(self, status: int) -> None:
        self._refused.labels(str(status)).inc()

    def replayed(self, source: str, events: int) -> None:
        self._replayed.labels(source).inc(events)

    def reset(self, reason: str) -> None:
        self._resets.labels(reason).inc()

    def feed_gap(self, reason: str) -> None:
        self._gaps.labels(reason).inc()

    def rejected(self, reason: str) -> None:
        self._rejected.labels(reason).inc()


class SinkMetrics:
    """Counters of the warehouse half."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.batches = Counter(
            "analytics_sink_batches_total", "Batches committed to ClickHouse", registry=registry
        )
        self.rows = Counter(
            "analytics_sink_rows_total", "Events committed to ClickHouse", registry=registry
        )
        self.retries = Counter(
            "analytics_sink_retries_total",
            "Attempts repeated because ClickHouse was away",
            registry=registry,
        )
        self.dead_letters = Counter(
            "analytics_sink_dead_letters_total",
            "Messages put aside, by reason",
            ["reason"],
            registry=registry,
        )
        self.waiting_seconds = Gauge(
            "analytics_sink_waiting_seconds",
            "Time since the sink could last store anything, by what it waits for; else 0",
            ["reason"],
            registry=registry,
        )
        self.lag_events = Gauge(
            "analytics_sink_lag_events",
            "Messages of the stream that are not committed yet",
            registry=registry,
        )
        self.lag_seconds = Gauge(
            "analytics_sink_lag_seconds",
            "Age of the oldest message that is not committed yet",
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "analytics_sink_commit_seconds", "Duration of a batch's commit", registry=registry
        )
        _start_at_zero(self.dead_letters, (reason.value for reason in Reason))
        _start_at_zero(self.waiting_seconds, (outage.value for outage in Outage))


class HttpMetrics:
    """Latency a route, without identifiers in the labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "analytics_http_request_seconds",
            "Time to answer, by route and status",
            ["method", "route", "status"],
            registry=registry,
        )


class QueryMetrics:
    """Counters of the cohort API's cache and budget."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter(
            "analytics_query_cache_total",
            "Answers by what the cache had: hit or miss",
            ["outcome"],
            registry=registry,
        )
        _start_at_zero(self.answers, ("hit", "miss"))
        self.over_budget = Counter(
            "analytics_query_over_budget_total",
            "Queries refused because a company had used up its budget",
            registry=registry,
        )
        self.abandoned = Counter(
            "analytics_query_abandoned_total",
            "Queries cancelled because their client had gone",
            registry=registry,
        )


def _start_at_zero(metric: Counter | Gauge, values: Iterable[str]) -> None:
    for value in values:
        metric.labels(value)
