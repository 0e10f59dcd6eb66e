"""The materialised views of Postgres, refreshed one by one."""
