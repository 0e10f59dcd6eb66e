"""Backups on real servers: taken, damaged, proven, pruned, restored."""
