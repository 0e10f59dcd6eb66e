"""The pure parts of the sync: differences, groups of companies, watermarks as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.defs.cohorts.change_log import Watermark
from pipelines.defs.cohorts.resync import chunks, difference
from pipelines.defs.cohorts.rows import MemberRow, platform_cohort

members = st.builds(
    MemberRow,
    user_id=st.sampled_from("abc"),
    cohort_id=st.sampled_from("xy"),
    company_id=st.sampled_from("mn"),
    joined_at=st.integers(0, 2),
)


@given(
    st.lists(members, unique_by=lambda row: row.key),
    st.lists(members, unique_by=lambda row: row.key),
)
def test_applying_a_difference_gives_the_wanted_rows(
    wanted: list[MemberRow], present: list[MemberRow]
) -> None:
    missing, stale = difference(wanted, present)
    after = {row.key: row for row in present}
    for key in stale:
        del after[key]
    after.update({row.key: row for row in missing})
    assert after == {row.key: row for row in wanted}
    assert not set(missing) & set(present), "a row that is right already is not written"


@given(st.dictionaries(st.text(max_size=3), st.integers(0, 20)), st.integers(1, 30))
def test_groups_hold_every_company_once_and_stay_under_the_limit(
    sizes: dict[str, int], limit: int
) -> None:
    groups = list(chunks(sizes, limit))
    assert [name for group in groups for name in group] == list(sizes)
    assert all(len(group) == 1 or sum(map(sizes.__getitem__, group)) <= limit for group in groups)


def test_filters_are_compact_json_in_order() -> None:
    row = platform_cohort("c", "m", "n", "", '{"x": ["ї", 1.5], "language": "uk"}', 0, 0)
    assert row.filters == '{"language":"uk","x":["ї",1.5]}'


@pytest.mark.parametrize("snapshot", ["813:813:", "10:20:12,15"])
def test_a_watermark_survives_its_text(snapshot: str) -> None:
    watermark = Watermark("7711/00000001/5/6", snapshot)
    assert Watermark.parse(watermark.text()) == watermark


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "12", '{"identity": "a", "snapshot": "1:2"}', '{"identity": "a"}']
)
def test_a_text_that_is_no_watermark_asks_for_a_resync(text: str) -> None:
    assert Watermark.parse(text) is None
