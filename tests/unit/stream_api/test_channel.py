"""One company's ring: what it keeps, and what it knows to be gone."""

from __future__ import annotations

from stream_api.channel import RING_BYTES, RING_EVENTS, Channel, Entry


def channel() -> Channel:
    return Channel("c", 0, 0.016, 1 << 20, on_flush=ignore, on_slow=ignore)


def ignore(*_: object) -> None:
    """Nobody counts here."""


def entry(seq: int, size: int = 100) -> Entry:
    return Entry(seq, seq, "metric_updated", b"x" * size)


async def test_the_ring_keeps_the_newest_and_says_from_where_it_is_complete() -> None:
    one = channel()
    for seq in range(1, RING_EVENTS + 11):
        one.publish(entry(seq))
    assert one.floor == 10
    assert one.after(9) is None
    kept = one.after(10)
    assert kept is not None
    assert [e.seq for e in kept] == list(range(11, RING_EVENTS + 11))


async def test_large_events_are_bounded_by_bytes() -> None:
    one = channel()
    for seq in range(1, 9):
        one.publish(entry(seq, RING_BYTES // 4))
    assert [e.seq for e in one.ring] == [5, 6, 7, 8]


async def test_another_life_of_the_stream_has_the_whole_ring_again() -> None:
    one = channel()
    for seq in range(1, 5):
        one.publish(entry(seq, RING_BYTES // 4))
    one.forget(0)
    for seq in range(1, 4):
        one.publish(entry(seq))
    kept = one.after(0)
    assert kept is not None
    assert [e.seq for e in kept] == [1, 2, 3]
