"""A company's budget: a burst at first, then as much as comes back with time."""

from __future__ import annotations

import pytest

from stream_api.budget import LocalBudget


async def test_a_burst_is_free_and_then_tokens_come_with_time() -> None:
    now = 0.0
    budget = LocalBudget(per_minute=60, clock=lambda: now)
    assert [await budget.take("a") for _ in range(6)] == [0.0] * 6
    assert await budget.take("a") == pytest.approx(1.0)
    assert await budget.take("b") == 0.0
    now = 0.75
    # Being refused costs nothing: the wait only gets shorter.
    assert await budget.take("a") == pytest.approx(0.25)
    now = 1.0
    assert await budget.take("a") == 0.0
    assert await budget.take("a") == pytest.approx(1.0)
    now = 3600.0
    assert [await budget.take("a") for _ in range(7)][-1] > 0


async def test_the_smallest_budget_still_lets_one_through() -> None:
    now = 0.0
    budget = LocalBudget(per_minute=1, clock=lambda: now)
    assert await budget.take("a") == 0.0
    assert await budget.take("a") == pytest.approx(60.0)
