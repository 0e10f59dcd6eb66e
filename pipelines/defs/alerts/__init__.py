"""Alerts: what is wrong now, who was told, and when to say it again."""
