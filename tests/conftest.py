"""Fixtures of all tests; the servers are in `tests/live/conftest.py`."""

pytest_plugins = ["tests.live.sidecar_fixtures"]
