"""Fixtures of all tests; the servers are in `tests/live/conftest.py`."""

import signal

import hypothesis

pytest_plugins = ["tests.live.sidecar_fixtures"]

# How fast examples are made depends on what else the machine does: no reason to fail.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# A shell starts what it runs in the background with SIGINT ignored. Dagster then ignores SIGTERM
# too, and what a test starts would inherit both.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
