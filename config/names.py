"""Names that the parts of the system meet in: streams, subjects, consumers, tables, events."""

from typing import Final

EVENTS_STREAM: Final = "ANALYTICS_EVENTS"
DLQ_STREAM: Final = "ANALYTICS_DLQ"
# Key-value bucket with a copy of the ledger of erasures: no restore of a database undoes it.
ERASURES_BUCKET: Final = "ANALYTICS_ERASURES"
SINK_CONSUMER: Final = "clickhouse-sink"

EVENT_SUBJECTS: Final = ("metrics.>", "journey.>", "q2q.>", "sroi.>", "vis.>")
DLQ_SUBJECT_PREFIX: Final = "dlq"
# Instances ask each other for their statistics here; no stream's subject.
STATS_SUBJECT: Final = "analytics.stats"

# First token of a subject → name of the Server-Sent Event.
SSE_EVENT_NAMES: Final = {
    "metrics": "metric_updated",
    "journey": "journey_flag_updated",
    "q2q": "vis_updated",
    "vis": "vis_updated",
    "sroi": "sroi_updated",
}

# The widest event that is streamed and stored; larger ones go to the dead letters.
MAX_EVENT_BYTES: Final = 256 * 1024
# What a dead letter keeps of the raw bytes: NATS carries 1 MiB a message, headers included.
MAX_DEAD_LETTER_BYTES: Final = 900 * 1024

COMPANY_ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,100}$"

TABLE_EVENTS: Final = "events"
TABLE_METRICS: Final = "metrics_timeseries"
TABLE_COHORTS: Final = "cohorts"
TABLE_USER_COHORTS: Final = "user_cohorts"
TABLE_MEMBERS_TO_DELETE: Final = "user_cohorts_to_delete"
TABLE_DEAD_LETTERS: Final = "dead_letters"
TABLE_DEAD_LETTER_DECISIONS: Final = "dead_letter_decisions"
TABLE_RECONCILIATIONS: Final = "reconciliations"
TABLE_CHECKPOINTS: Final = "processing_checkpoints"
