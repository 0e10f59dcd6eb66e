"""Dagster's own storage: old runs are deleted, so that it stays small."""
