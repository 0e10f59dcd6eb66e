"""The pure parts of the sync: differences, groups of rows, watermarks as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.defs.cohorts.change_log import Watermark
from pipelines.defs.cohorts.comparison import CHUNK_GROUPS, Difference, chunks, difference
from pipelines.defs.cohorts.rows import CohortRow, MemberRow

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
    found = difference(wanted, present)
    after = {row.key: row for row in present}
    for one in found:
        after.pop(one.key, None)
        if one.wanted:
            after[one.key] = one.wanted
    assert after == {row.key: row for row in wanted}
    assert all(one.wanted != one.present for one in found), "a row that is right is not named"


COHORT = CohortRow("7", "acme", "n", "", "{}", 1, 2)
MEMBER = MemberRow("5", "7", "acme", 1)


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (Difference(COHORT, None), "acme: cohort 7 is missing"),
        (Difference(None, COHORT), "acme: cohort 7 is extra"),
        (
            Difference(COHORT, COHORT._replace(name="m", updated_at=3)),
            "acme: cohort 7 differs in name, updated_at",
        ),
        (Difference(MEMBER, None), "acme: user 5 in cohort 7 is missing"),
        (Difference(None, MEMBER), "acme: user 5 in cohort 7 is extra"),
        (
            Difference(MEMBER, MEMBER._replace(joined_at=2)),
            "acme: user 5 in cohort 7 differs in joined_at",
        ),
    ],
)
def test_a_difference_names_its_row(one: Difference, text: str) -> None:
    assert one.text() == text


groups = st.tuples(st.text(max_size=3))


@given(st.dictionaries(groups, st.integers(0, 20)), st.integers(1, 30))
def test_chunks_hold_every_group_once_and_stay_under_the_limit(
    sizes: dict[tuple[str, ...], int], limit: int
) -> None:
    found = list(chunks(sizes, limit))
    assert [group for chunk in found for group in chunk] == list(sizes)
    assert all(len(chunk) == 1 or sum(map(sizes.__getitem__, chunk)) <= limit for chunk in found)


def test_chunks_name_no_more_groups_than_a_parameter_holds() -> None:
    found = list(chunks({(str(number),): 0 for number in range(CHUNK_GROUPS + 1)}, 1))
    assert [len(chunk) for chunk in found] == [CHUNK_GROUPS, 1]


@pytest.mark.parametrize("snapshot", ["813:813:", "10:20:12,15"])
def test_a_watermark_survives_its_text(snapshot: str) -> None:
    watermark = Watermark("7711/00000001/5/6", snapshot)
    assert Watermark.parse(watermark.text()) == watermark


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "12", '{"identity": "a", "snapshot": "1:2"}', '{"identity": "a"}']
)
def test_a_text_that_is_no_watermark_asks_for_a_resync(text: str) -> None:
    assert Watermark.parse(text) is None
