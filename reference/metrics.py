"""`metrics.md`: every figure of `/metrics`, out of the sidecar's registry."""

from __future__ import annotations

from prometheus_client.core import Metric

from reference.markdown import code, table
from stream_api.sidecar import Sidecar

HEAD = """# Metrics

What the sidecar says at `/metrics`, as Prometheus text. A counter of a closed list has all its
values from the start, at 0. Alerts and dashboards over them are in [deploy](../../deploy).

"""
# Bounds of a histogram's buckets: a part of its type.
BUCKET = "le"


def page(sidecar: Sidecar) -> str:
    """One row a metric; a label whose values are a closed list has them."""
    # Its labels are names only until a first answer was measured.
    sidecar.http_metrics.seconds.labels("", "", "")
    rows = [
        (code(_name(metric)), metric.type, _labels(metric), metric.documentation)
        for metric in sidecar.registry.collect()
    ]
    return HEAD + table(("Metric", "Type", "Labels", "Meaning"), rows)


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _labels(metric: Metric) -> str:
    found: dict[str, dict[str, None]] = {}
    for sample in metric.samples:
        for name, value in sample.labels.items():
            if name != BUCKET:
                found.setdefault(name, {})[value] = None
    return "; ".join(
        f"`{name}`" + (f": {', '.join(values)}" if all(values) else "")
        for name, values in found.items()
    )
