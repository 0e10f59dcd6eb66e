"""Which backups hang together, which is the next one's base, which may go. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from pipelines.defs.backups.record import Backup


class NoBackupError(LookupError):
    """There is no backup as asked for; one line."""


def chain(backups: Iterable[Backup], backup_id: str) -> list[Backup]:
    """The backup and everything it needs, the full one first.

    Raises:
        NoBackupError: one of them is unknown or not complete.
    """
    by_id = {backup.backup_id: backup for backup in backups}
    links: list[Backup] = []
    wanted: str | None = backup_id
    while wanted is not None:
        backup = by_id.get(wanted)
        if backup is None or not backup.complete or len(links) == len(by_id):
            state = "unknown" if backup is None else backup.state
            needed = f", which {links[-1].backup_id} needs," if links else ""
            raise NoBackupError(f"backup {wanted}{needed} is {state}")
        links.append(backup)
        wanted = backup.base_id
    return links[::-1]


def newest(
    backups: Sequence[Backup],
    *,
    at: datetime | None = None,
    trusted: bool = True,
    holding: tuple[str, str] | None = None,
) -> Backup | None:
    """The newest backup that can be restored, of those taken up to `at`.

    `trusted` leaves out chains in which a drill found damage: an incremental of a damaged full
    backup is as damaged. `holding` is a table and a partition of it that the backup must have.
    """
    roots = _roots(backups)
    damaged = {
        roots.get(one.backup_id)
        for one in backups
        if trusted and one.drill is not None and not one.drill.passed
    }
    return max(
        (
            one
            for one in backups
            if (root := roots.get(one.backup_id)) is not None
            and root not in damaged
            and (at is None or one.started_at <= at)
            and (holding is None or holding[1] in one.warehouse.get(holding[0], {}))
        ),
        key=_age,
        default=None,
    )


def prunable(backups: Sequence[Backup], now: datetime, keep: timedelta) -> list[Backup]:
    """The backups whose files may be removed at `now`, each before what it needs.

    Kept are: every backup younger than `keep`; the one before these, so that each moment within
    `keep` can be gone back to (so the newest of all, however old); the one that a drill proved
    last; and whatever one of these needs. Backups that failed go when they are older than `keep`;
    running ones never.
    """
    horizon = now - keep
    whole = sorted((one for one in backups if one.complete), key=_age)
    proven = [one for one in whole if one.proven_at is not None]
    wanted = [one for one in whole if one.started_at > horizon]
    wanted += [one for one in whole if one.started_at <= horizon][-1:]
    wanted += sorted(proven, key=lambda one: (one.proven_at or horizon, *_age(one)))[-1:]
    by_id = {one.backup_id: one for one in backups}
    kept: set[str] = set()
    for one in wanted:
        link: Backup | None = one
        while link is not None and link.backup_id not in kept:
            kept.add(link.backup_id)
            link = by_id.get(link.base_id or "")
    gone = [
        one
        for one in backups
        if one.backup_id not in kept
        and (one.complete or (one.state == "failed" and one.started_at <= horizon))
    ]
    return sorted(gone, key=_age, reverse=True)


def _age(backup: Backup) -> tuple[datetime, str]:
    return backup.started_at, backup.backup_id


def _roots(backups: Iterable[Backup]) -> dict[str, str | None]:
    """Of each complete backup the full one that its chain begins with; None where it has a hole.
    Each base is looked up once.
    """
    complete = {backup.backup_id: backup for backup in backups if backup.complete}
    roots: dict[str, str | None] = {}
    for backup_id in complete:
        trail: list[str] = []
        wanted: str | None = backup_id
        while wanted in complete and wanted not in roots:
            trail.append(wanted)
            roots[wanted] = None  # until its base is known, and for good in a ring
            wanted = complete[wanted].base_id
        if trail:
            roots |= dict.fromkeys(trail, trail[-1] if wanted is None else roots.get(wanted))
    return roots
