"""What the cache keeps, what it lets go first, and that an older version is no answer."""

from __future__ import annotations

from stream_api.query_cache import ENTRY_BYTES, Answer, LocalCache, Question


def question(company: str, number: int = 0) -> Question:
    return Question.of(company, "metrics", {"number": number})


def answer(size: int = 100) -> Answer:
    return Answer(b"x" * size, '"tag"')


async def test_an_answer_is_of_one_company_question_and_version() -> None:
    cache = LocalCache()
    await cache.put(question("a"), "v1", answer())
    assert await cache.get(question("a"), "v1") == answer()
    assert await cache.get(question("b"), "v1") is None
    assert await cache.get(question("a", 1), "v1") is None
    assert await cache.get(question("a"), "v2") is None


def test_parameters_are_the_same_in_any_order() -> None:
    one = Question.of("a", "metrics", {"x": 1, "y": None})
    assert one == Question.of("a", "metrics", {"y": None, "x": 1})
    assert one != Question.of("a", "trends", {"x": 1, "y": None})


async def test_a_new_version_takes_the_place_of_the_old_one() -> None:
    cache = LocalCache()
    for version in range(100):
        await cache.put(question("a"), str(version), answer(1000))
    assert cache.bytes < 2 * (1000 + ENTRY_BYTES)
    assert await cache.get(question("a"), "99") is not None


async def test_a_company_at_its_bound_loses_its_own_least_used_answers() -> None:
    cache = LocalCache(company_bytes=5 * (1000 + ENTRY_BYTES))
    await cache.put(question("quiet"), "v", answer())
    for number in range(4):
        await cache.put(question("busy", number), "v", answer(1000))
    assert await cache.get(question("busy", 0), "v") is not None  # used: 1 is the oldest now
    for number in range(4, 6):
        await cache.put(question("busy", number), "v", answer(1000))
    kept = [n for n in range(6) if await cache.get(question("busy", n), "v") is not None]
    assert 0 in kept
    assert 1 not in kept
    assert await cache.get(question("quiet"), "v") is not None


async def test_all_together_stay_below_the_bound_of_all() -> None:
    bound = 10 * (1000 + ENTRY_BYTES)
    cache = LocalCache(company_bytes=bound, all_bytes=bound)
    for number in range(50):
        await cache.put(question(f"company-{number}"), "v", answer(1000))
        assert cache.bytes <= bound
    assert await cache.get(question("company-0"), "v") is None
    assert await cache.get(question("company-49"), "v") is not None


async def test_an_answer_beyond_the_bound_is_not_kept() -> None:
    cache = LocalCache(company_bytes=1000)
    await cache.put(question("a"), "v", answer(5000))
    assert (await cache.get(question("a"), "v"), cache.bytes) == (None, 0)
