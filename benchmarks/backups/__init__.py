"""Backup and restore of a large warehouse, timed."""
