"""One message for all that is to be told at a time: text for people, fields for programs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipelines.defs.alerts.condition import span
from pipelines.defs.alerts.decision import Alert

# Receivers cut texts at some thousand characters; the fields carry all of them.
SHOWN_ALERTS = 20
DOCUMENT = "docs/operations.md"


def compose(alerts: Sequence[Alert], now: datetime) -> dict[str, Any]:
    """The JSON body: `text` in Slack's escaping, `alerts` as objects, the worst first."""
    lines = [headline(alerts)]
    lines += [escape(line(alert, now)) for alert in alerts[:SHOWN_ALERTS]]
    if len(alerts) > SHOWN_ALERTS:
        lines.append(f"… and {len(alerts) - SHOWN_ALERTS} more: analytics alert list")
    return {
        "text": "\n".join(lines),
        "service": "analytics",
        "sentAt": now.isoformat(timespec="seconds"),
        "alerts": [fields(alert, now) for alert in alerts],
    }


def headline(alerts: Sequence[Alert]) -> str:
    """`analytics: 2 alerts, 1 resolved`."""
    resolved = sum(alert.resolved_at is not None for alert in alerts)
    wrong = len(alerts) - resolved
    parts = [f"{wrong} alert{'s' if wrong > 1 else ''}"] if wrong else []
    parts += [f"{resolved} resolved"] if resolved else []
    return f"analytics: {', '.join(parts)}"


def line(alert: Alert, now: datetime) -> str:
    """What is wrong, for how long, and where it is written what to do."""
    if alert.resolved_at is not None:
        lasted = span((alert.resolved_at - alert.opened_at).total_seconds())
        return f"[resolved] {alert.text} (lasted {lasted})"
    age = (now - alert.opened_at).total_seconds()
    since = f", open for {span(age)}" if age >= 60 else ""
    again = f", message {alert.sends + 1}" if alert.sends else ""
    return f"[{alert.severity}] {alert.text}{since}{again}. What to do: {DOCUMENT}#{alert.see}"


def fields(alert: Alert, now: datetime) -> dict[str, Any]:
    """The alert as an object; times are ISO 8601, ages are seconds."""
    end = alert.resolved_at or now
    resolved = alert.resolved_at is not None
    return {
        "key": alert.key,
        "state": "resolved" if resolved else "repeated" if alert.sends else "open",
        "severity": alert.severity.value,
        "text": alert.text,
        "see": f"{DOCUMENT}#{alert.see}",
        "openedAt": alert.opened_at.isoformat(timespec="seconds"),
        "ageSeconds": round((end - alert.opened_at).total_seconds()),
        "sends": alert.sends,
        "resolvedAt": alert.resolved_at.isoformat(timespec="seconds")
        if alert.resolved_at is not None
        else None,
    }


def escape(text: str) -> str:
    """Slack's three characters: an error text must not become a link or call a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
