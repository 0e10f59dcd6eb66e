"""Cohort figures under load: latency of answers, and what the view or other granules cost."""
