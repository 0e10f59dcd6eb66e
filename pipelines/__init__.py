"""Dagster pipelines: cohorts into the warehouse, materialised views, partitions of events."""
