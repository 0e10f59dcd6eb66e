"""FastAPI sidecar: NATS to Server-Sent Events, NATS to ClickHouse, and the cohort API."""
