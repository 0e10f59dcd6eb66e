"""Policies against a model of their own: nothing that is kept goes, nothing that is over stays."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.defs.partitions.parts import wants_merge
from pipelines.defs.partitions.stock import BY_NAME, Grain, Partition, days_of
from pipelines.defs.partitions.strays import find_strays
from pipelines.defs.retention.evaluation import evaluate
from pipelines.defs.retention.plan import decide
from pipelines.defs.retention.policies import Policy
from pipelines.defs.retention.subject import Subject, SubjectError, names

TODAY = date(2026, 3, 17)
COMPANIES = ["", "a", "b", "c"]
# Few, so that days on the very edge of a policy come up in nearly every example.
DAYS = st.sampled_from([1, 15, 16, 17, 18, 30, 44, 45, 60])
POLICIES = st.builds(
    Policy, DAYS, st.dictionaries(st.sampled_from(COMPANIES[1:]), DAYS, max_size=3)
)
ROWS = st.dictionaries(
    st.tuples(st.sampled_from(COMPANIES), st.sampled_from([0, 1, 2, 13, 14, 15, 16, 27, 30])),
    st.integers(1, 9),
    max_size=20,
)


def month_before(back: int) -> date:
    begin = TODAY.replace(day=1)
    for _ in range(back):
        begin = (begin - timedelta(days=1)).replace(day=1)
    return begin


def is_over(policy: Policy, company: str, day: date, grain: Grain) -> bool:
    """The rule in other words: the unit's last day is at least so many days behind today."""
    days = policy.companies.get(company, policy.days)
    if grain == "day":
        return (TODAY - day).days > days
    end = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return end <= (TODAY - timedelta(days=days)).replace(day=1)


@given(POLICIES, ROWS, st.integers(0, 3), st.sampled_from(["day", "month"]))
def test_exactly_what_is_over_goes(
    policy: Policy, counts: dict[tuple[str, int], int], back: int, grain: Grain
) -> None:
    begin = month_before(back)
    end = (begin + timedelta(days=32)).replace(day=1)
    rows = {
        (company, begin + timedelta(days=offset)): count
        for (company, offset), count in counts.items()
        if begin + timedelta(days=offset) < end
    }
    partition = Partition(
        BY_NAME["dead_letters" if grain == "day" else "metrics_timeseries"],
        *("x", f"{begin:%Y%m}", begin, end, 1, 1000, 1),
    )
    left = dict(rows)
    for step in decide(partition, rows, policy, TODAY):
        if step.action == "drop":
            left.clear()
            continue
        assert step.cutoff is not None
        before = sum(left.values())
        # What the statement's predicate says, with its parameters.
        left = {
            (company, day): count
            for (company, day), count in left.items()
            if not ((company in step.companies) == step.listed and day < step.cutoff)
        }
        assert before - sum(left.values()) == step.rows
    assert left == {key: n for key, n in rows.items() if not is_over(policy, *key, grain)}


@given(POLICIES, ROWS)
def test_a_partition_is_dropped_only_when_nobody_keeps_a_row(
    policy: Policy, counts: dict[tuple[str, int], int]
) -> None:
    begin, end = month_before(3), month_before(2)
    rows = {(c, begin + timedelta(days=min(n, 27))): 1 for c, n in counts}
    verdict = evaluate(rows, policy, TODAY, "day", end)
    if rows:
        assert verdict.drop == all(is_over(policy, *key, "day") for key in rows)
    else:
        assert verdict.drop == (end <= TODAY - timedelta(days=policy.days))
    assert not (verdict.drop and verdict.delete)


@given(POLICIES)
def test_rows_of_nobody_stay_as_long_as_anybody_keeps_theirs(policy: Policy) -> None:
    everybody = [policy.cutoff(company, TODAY, "day") for company in COMPANIES]
    assert policy.longest().cutoff("", TODAY, "day") <= min(everybody)
    assert policy.latest_cutoff(TODAY, "day") >= max(everybody)


def test_days_beyond_all_dates_keep_everything() -> None:
    assert Policy(10_000_000).cutoff("a", TODAY, "month") == date.min


@pytest.mark.parametrize(
    ("partition_id", "days"),
    [
        ("20260228", (date(2026, 2, 28), date(2026, 3, 1))),
        ("202612", (date(2026, 12, 1), date(2027, 1, 1))),
        *((odd, None) for odd in ("all", "20260230", "202613", "2026", "", "99999999", "٢٠٢٦٠٢")),
    ],
)
def test_ids_of_partitions_are_days_or_months(
    partition_id: str, days: tuple[date, date] | None
) -> None:
    assert days_of(partition_id) == days


def partition(table: str, partition_id: str, parts: int = 1) -> Partition:
    days = days_of(partition_id) or (None, None)
    return Partition(BY_NAME[table], "x", partition_id, *days, 5, 10, parts)


def test_strays_are_named_with_their_reason() -> None:
    found = find_strays(
        [
            *(partition("events", one) for one in ("20260318", "20260319", "19991231", "tuple()")),
            *(partition("metrics_timeseries", one) for one in ("202703", "202705")),
        ],
        TODAY,
    )
    assert [line.split(",")[0] for line in found] == [
        "events 20260319: in the future",
        "events 19991231: before 2000-01-01",
        "events tuple(): its name is neither a day nor a month",
        "metrics_timeseries 202705: in the future",
    ]


def test_only_closed_partitions_in_many_parts_are_merged() -> None:
    assert wants_merge(partition("events", "20260316", parts=9), TODAY)
    assert not wants_merge(partition("events", "20260316", parts=8), TODAY)
    assert not wants_merge(partition("events", "20260317", parts=9), TODAY)


UUID = "6f1c0e8a-0000-4000-8000-0000000000ab"


@pytest.mark.parametrize(
    ("user_id", "raw", "named"),
    [
        ("u1", b'{"userId":"u1"}', True),
        ("u1", b'{"deep":[{"mentee":"u1"}]}', True),
        ("u1", b'{"userId":"u10"}', False),
        ("u1", b'{"userId":"U1"}', False),
        ("u1", b'{"userId":"\\u00751"}', True),
        ('o"k', b'{"userId":"o\\"k"}', True),
        ("їжак", '{"userId":"їжак"}'.encode(), True),
        ("їжак", b'{"userId":"\\u0457\\u0436\\u0430\\u043a"}', True),
        (UUID, f'{{"userId":"{UUID.upper()}"}}'.encode(), True),
        (UUID, b"\xff\xfe no text", False),
    ],
)
def test_an_id_is_found_whole_however_it_is_written(user_id: str, raw: bytes, named: bool) -> None:
    subject = Subject("acme", user_id)
    assert names(raw, subject.needle, any_case=subject.any_case) is named


@pytest.mark.parametrize(
    ("company", "user"), [("", None), ("a b", "u"), ("a", ""), ("a", "x" * 201)]
)
def test_ids_that_nobody_can_have_are_refused(company: str, user: str | None) -> None:
    with pytest.raises(SubjectError):
        Subject(company, user)
