"""Dagster pipelines: cohorts to the warehouse, materialised views, partitions, reconciliation."""
