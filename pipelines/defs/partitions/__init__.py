"""Daily partitions of `events` in ClickHouse, as Dagster's partitions."""
