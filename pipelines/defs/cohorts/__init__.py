"""Cohorts: memberships by filters in Postgres, and their sync to ClickHouse."""
