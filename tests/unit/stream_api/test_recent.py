"""A value that may be a moment old: loaded once for all who ask within that moment."""

from __future__ import annotations

import asyncio

import pytest

from stream_api.recent import Recent


class Source:
    """Counts its loads; each waits until it is let go."""

    def __init__(self) -> None:
        self.loads = 0
        self.fail = False
        self.began = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def load(self, key: str) -> str:
        self.loads += 1
        number = self.loads
        self.began.set()
        await self.go.wait()
        if self.fail:
            raise RuntimeError(key)
        return f"{key}{number}"


async def test_askers_share_a_load_until_it_is_too_old() -> None:
    now, source = 0.0, Source()
    recent = Recent(source.load, 1.0, 10, clock=lambda: now)
    assert await asyncio.gather(*(recent.get("a") for _ in range(5))) == ["a1"] * 5
    now = 1.0
    assert await recent.get("a") == "a1"
    now = 1.01
    assert await recent.get("a") == "a2"


async def test_an_asker_who_leaves_does_not_end_the_load_of_the_others() -> None:
    source = Source()
    recent = Recent(source.load, 1.0, 10)
    source.go.clear()
    leaves, stays = asyncio.create_task(recent.get("a")), asyncio.create_task(recent.get("a"))
    await source.began.wait()
    leaves.cancel()
    source.go.set()
    assert await stays == "a1"


async def test_a_failed_load_is_told_and_not_kept() -> None:
    source = Source()
    recent = Recent(source.load, 1.0, 10)
    source.fail = True
    with pytest.raises(RuntimeError):
        await recent.get("a")
    source.fail = False
    assert await recent.get("a") == "a2"


async def test_forgetting_also_passes_over_a_load_under_way() -> None:
    source = Source()
    recent = Recent(source.load, 1.0, 10)
    source.go.clear()
    before = asyncio.create_task(recent.get("a"))
    await source.began.wait()
    recent.forget("a")
    after = asyncio.create_task(recent.get("a"))
    await asyncio.sleep(0)
    source.go.set()
    assert (await before, await after) == ("a1", "a2")


async def test_no_more_keys_than_its_limit_are_held() -> None:
    source = Source()
    recent = Recent(source.load, 1e9, 3)
    for key in "abcd":
        await recent.get(key)
    assert await recent.get("d") == "d4"
    assert await recent.get("a") == "a5"
