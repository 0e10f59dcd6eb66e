"""Backups of both databases: taken, pruned, proven by a drill, restored."""
