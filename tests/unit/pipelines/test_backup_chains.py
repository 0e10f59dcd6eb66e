"""Pruning and choosing over any history of backups."""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.defs.backups.chains import NoBackupError, chain, newest, prunable
from pipelines.defs.backups.record import (
    Backup,
    Drill,
    Dump,
    Figures,
    Kind,
    Partition,
    State,
)

BEGIN = datetime(2026, 1, 4, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def make(number: int, hours: int, base: Backup | None, state: State = "complete") -> Backup:
    kind = Kind.INCREMENTAL if base else Kind.FULL
    return Backup(
        backup_id=f"b{number}",
        kind=kind,
        base_id=base.backup_id if base else None,
        target="disk backups",
        location=f"disk backups/b{number}",
        database="d",
        state=state,
        started_at=BEGIN + hours * HOUR,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    """Backups in time, each full or on any earlier complete one, some failed, drilled, pruned."""
    made: list[Backup] = []
    hours = 0
    for number in range(draw(st.integers(0, 14))):
        hours += draw(st.integers(1, 200))
        whole = [one for one in made if one.complete]
        base = draw(st.sampled_from([None, *whole])) if whole else None
        state: State = draw(st.sampled_from(["complete"] * 6 + ["failed", "running"]))
        one = make(number, hours, base, state)
        if state == "complete" and draw(st.booleans()):
            at = one.started_at + draw(st.integers(0, 300)) * HOUR
            passed = draw(st.booleans())
            drill = Drill(at, passed, 1.0, 1.0, () if passed else ("damaged",))
            one = dataclasses.replace(one, drill=drill, proven_at=at if passed else None)
        made.append(one)
    return made


def prune(made: list[Backup], now: datetime, keep: timedelta) -> list[Backup]:
    gone = {one.backup_id for one in prunable(made, now, keep)}
    return [
        dataclasses.replace(one, state="pruned") if one.backup_id in gone else one for one in made
    ]


@given(made=histories(), hours=st.integers(0, 3000), days=st.integers(1, 60))
def test_pruning_breaks_no_chain_and_keeps_what_has_to_stay(
    made: list[Backup], hours: int, days: int
) -> None:
    now, keep = BEGIN + hours * HOUR, timedelta(days=days)
    whole = [one for one in made if one.complete]
    gone = prunable(made, now, keep)
    after = prune(made, now, keep)
    for one in after:
        if one.complete:
            assert chain(after, one.backup_id)[-1] == one
    left = {one.backup_id for one in after if one.complete}
    # The window, the newest, and the one that a drill proved last.
    assert {one.backup_id for one in whole if one.started_at > now - keep} <= left
    if whole:
        assert max(whole, key=lambda one: one.started_at).backup_id in left
    proven = [one for one in whole if one.proven_at]
    latest = max((one.proven_at for one in proven if one.proven_at), default=None)
    if proven:
        assert any(one.backup_id in left for one in proven if one.proven_at == latest)
    # Each moment of the window that could be gone back to still can.
    for one in whole:
        moment = max(one.started_at, now - keep)
        before, then = (
            newest(made, at=moment, trusted=False),
            newest(after, at=moment, trusted=False),
        )
        assert before == then
    # And no more than that: each that is left is one of these, or one of these needs it.
    horizon = now - keep
    wanted = [one for one in whole if one.started_at > horizon]
    wanted += [one for one in whole if one.started_at <= horizon][-1:] + whole[-1:]
    wanted += [one for one in proven if one.backup_id in left and one.proven_at == latest]
    assert left == {link.backup_id for one in wanted for link in chain(made, one.backup_id)}
    # Nothing unknown, nothing running, in an order that is safe to be cut anywhere.
    assert all(one.state in {"complete", "failed"} for one in gone)
    for number in range(len(gone)):
        removed = {one.backup_id for one in gone[:number]}
        rest = [one for one in made if one.backup_id not in removed]
        for one in rest:
            if one.complete:
                assert chain(rest, one.backup_id)
    # A second time there is nothing more to do.
    assert [one for one in prunable(after, now, keep) if one.complete] == []


@st.composite
def proven_histories(draw: st.DrawFn) -> list[Backup]:
    """Two or more that drills proved, in any order of their drills, then one to three unproven."""
    proven, unproven = draw(st.integers(2, 5)), draw(st.integers(1, 3))
    drilled = draw(st.permutations(range(proven)))
    made: list[Backup] = []
    for number in range(proven + unproven):
        # Any of them full, so that nothing but its own proof keeps an older one.
        base = draw(st.sampled_from([None, None, *made[-1:]]))
        one = make(number, 24 * number, base)
        if number < proven:
            at = BEGIN + (24 * proven + drilled[number]) * HOUR
            one = dataclasses.replace(one, drill=Drill(at, True, 1.0, 1.0, ()), proven_at=at)
        made.append(one)
    return made


@given(made=proven_histories(), days=st.integers(1, 60))
def test_out_of_the_window_stay_the_newest_and_the_one_proven_last_and_what_they_need(
    made: list[Backup], days: int
) -> None:
    keep = timedelta(days=days)
    last_proven = max(
        (one for one in made if one.proven_at), key=lambda one: one.proven_at or BEGIN
    )
    needed = {
        link.backup_id for one in (made[-1], last_proven) for link in chain(made, one.backup_id)
    }
    after = prune(made, made[-1].started_at + keep, keep)
    assert {one.backup_id for one in after if one.complete} == needed


@given(made=histories(), hours=st.integers(0, 3000), lost=st.integers(0, 14), trusted=st.booleans())
def test_the_newest_is_the_last_of_which_the_whole_chain_is_there_and_undamaged(
    made: list[Backup], hours: int, lost: int, trusted: bool
) -> None:
    made = [
        dataclasses.replace(one, state="pruned") if one.backup_id == f"b{lost}" else one
        for one in made
    ]
    chains = {}
    for one in made:
        with contextlib.suppress(NoBackupError):
            chains[one.backup_id] = chain(made, one.backup_id)
    damaged = {
        links[0].backup_id
        for links in chains.values()
        if links[-1].drill and links[-1].drill.reasons
    }
    at = BEGIN + hours * HOUR
    fit = [
        links[-1]
        for links in chains.values()
        if links[-1].started_at <= at and not (trusted and links[0].backup_id in damaged)
    ]
    assert newest(made, at=at, trusted=trusted) == (fit[-1] if fit else None)


def test_backups_that_need_each_other_are_none() -> None:
    full = make(0, 0, None)
    first, second = make(1, 1, full), make(2, 2, full)
    ring = [
        dataclasses.replace(first, base_id="b2"),
        dataclasses.replace(second, base_id="b1"),
    ]
    assert newest([full, *ring]) == full
    with pytest.raises(NoBackupError):
        chain(ring, "b1")


def test_the_newest_that_holds_a_partition_may_be_an_older_one() -> None:
    held = {"events": {"20260104": Partition(Figures(3, "1"), "ab", 9)}}
    older = dataclasses.replace(make(0, 0, None), warehouse=held)
    lost = make(1, 24, older)
    assert newest([older, lost]) == lost
    assert newest([older, lost], holding=("events", "20260104")) == older
    assert newest([older, lost], holding=("events", "20260105")) is None


def test_a_backup_out_of_the_window_goes_with_its_chain() -> None:
    full = make(0, 0, None)
    chained = make(1, 24, full)
    fresh = make(2, 24 * 7, None)
    now = BEGIN + timedelta(days=40)
    assert prunable([full, chained, fresh], now, timedelta(days=30)) == [chained, full]
    proven = dataclasses.replace(chained, proven_at=now)
    assert prunable([full, proven, fresh], now, timedelta(days=30)) == []


def test_a_chain_in_which_a_drill_found_damage_is_no_base() -> None:
    full = make(0, 0, None)
    damaged = dataclasses.replace(
        make(1, 24, full), drill=Drill(BEGIN, False, 1.0, 1.0, ("data.bin",))
    )
    assert newest([full, damaged]) is None
    assert newest([full, damaged], trusted=False) == damaged
    other = make(2, 30, None)
    assert newest([full, damaged, other]) == other


def test_a_chain_with_a_hole_names_the_hole() -> None:
    full = make(0, 0, None)
    second = make(1, 24, full)
    with pytest.raises(NoBackupError, match="b0, which b1 needs, is pruned"):
        chain([dataclasses.replace(full, state="pruned"), second], "b1")


def test_a_manifest_says_everything_that_the_catalogue_knows() -> None:
    whole = dataclasses.replace(
        make(3, 5, make(2, 1, None)),
        finished_at=BEGIN,
        clickhouse_migrations=("0001_events",),
        warehouse={"events": {"20260104": Partition(Figures(3, str(2**64 - 1)), "ab", 9)}},
        platform=Dump(7, "00", {"users": Figures(1, "5")}),
        drill=Drill(BEGIN, False, 1.5, 2.5, ("x",)),
    )
    assert Backup.from_json(whole.to_json()) == whole
    with pytest.raises(ValueError, match="not a backup's manifest"):
        Backup.from_json('{"kind": "full"}')
    with pytest.raises(ValueError, match="manifest of version 2"):
        Backup.from_json('{"manifest_version": 2}')


def test_sums_of_fingerprints_wrap_as_the_engines_do() -> None:
    assert Figures.sum([Figures(1, str(2**64 - 1)), Figures(2, "3")]) == Figures(3, "2")
