"""What is known of a backup: one row of the catalogue, and the manifest beside its files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal, Self

# Raised when a manifest changes so that an older version can't read it.
MANIFEST_VERSION = 1
HASH_MODULUS = 1 << 64


class Kind(StrEnum):
    """A full backup stands alone, an incremental one needs its base."""

    FULL = "full"
    INCREMENTAL = "incremental"


State = Literal["running", "complete", "failed", "pruned"]


@dataclass(frozen=True)
class Figures:
    """Rows, and the sum of their hashes modulo 2^64 as a decimal: the same in any order."""

    rows: int
    hash: str

    @classmethod
    def sum(cls, figures: Iterable[Figures]) -> Self:
        """The figures of disjoint sets of rows together."""
        every = list(figures)
        total = sum(int(one.hash) for one in every) % HASH_MODULUS
        return cls(sum(one.rows for one in every), str(total))


@dataclass(frozen=True)
class Partition:
    """A partition in a backup. `digest` is of its files: while it stays, so do the figures."""

    figures: Figures
    digest: str
    bytes: int


# Table of the warehouse → id of the partition → what it holds. A table without rows has none.
Warehouse = Mapping[str, Mapping[str, Partition]]


@dataclass(frozen=True)
class Dump:
    """The dump of Postgres: its size, its SHA-256 in hex, and the tables in its snapshot."""

    bytes: int
    sha256: str
    tables: Mapping[str, Figures]


@dataclass(frozen=True)
class Drill:
    """One restore that was tried. `rto_seconds`: how long it took; `rpo_seconds`: how old the
    backup was, which is what a disaster at that moment would have cost.
    """

    at: datetime
    passed: bool
    rto_seconds: float
    rpo_seconds: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Backup:
    """One backup. `started_at` is the moment it goes back to; `bytes` are without its base's."""

    backup_id: str
    kind: Kind
    base_id: str | None
    target: str
    location: str
    # The warehouse's database, as it is called inside of the backup.
    database: str
    state: State
    started_at: datetime
    finished_at: datetime | None = None
    clickhouse_version: str = ""
    postgres_version: str = ""
    clickhouse_migrations: tuple[str, ...] = ()
    postgres_migrations: tuple[str, ...] = ()
    bytes: int = 0
    duration_seconds: float | None = None
    warehouse: Warehouse = field(default_factory=dict)
    platform: Dump | None = None
    error: str | None = None
    proven_at: datetime | None = None
    drill: Drill | None = None

    @property
    def complete(self) -> bool:
        return self.state == "complete"

    def table_figures(self) -> dict[str, Figures]:
        """Rows and fingerprint of each table of the warehouse."""
        return {
            table: Figures.sum(partition.figures for partition in partitions.values())
            for table, partitions in self.warehouse.items()
        }

    @property
    def rows(self) -> int:
        """Rows of both databases."""
        platform = self.platform.tables.values() if self.platform else ()
        return sum(one.rows for one in (*self.table_figures().values(), *platform))

    def to_json(self) -> str:
        """As it stands in the catalogue and in the manifest."""
        return json.dumps(
            {"manifest_version": MANIFEST_VERSION, **dataclasses.asdict(self)}, default=_text
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The backup in a manifest.

        Raises:
            ValueError: it is none, or one of a later version.
        """
        return cls.from_values(json.loads(text))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The backup in a row of the catalogue or in a parsed manifest.

        Raises:
            ValueError: it is none, or one of a later version.
        """
        version = values.get("manifest_version", MANIFEST_VERSION)
        if version != MANIFEST_VERSION:
            raise ValueError(f"manifest of version {version}; this is version {MANIFEST_VERSION}")
        given = {name: value for name, value in values.items() if name != "manifest_version"}
        try:
            drill, platform = given["drill"], given["platform"]
            return cls(
                **given
                | {
                    "kind": Kind(given["kind"]),
                    "started_at": _moment(given["started_at"]),
                    "finished_at": _moment_or_none(given["finished_at"]),
                    "proven_at": _moment_or_none(given["proven_at"]),
                    "clickhouse_migrations": tuple(given["clickhouse_migrations"]),
                    "postgres_migrations": tuple(given["postgres_migrations"]),
                    "warehouse": {
                        table: {name: _partition(one) for name, one in partitions.items()}
                        for table, partitions in given["warehouse"].items()
                    },
                    "platform": platform and _dump(platform),
                    "drill": drill and _drill(drill),
                }
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a backup's manifest: {error!r}") from None


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value).__name__)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _moment_or_none(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _partition(values: Mapping[str, Any]) -> Partition:
    return Partition(Figures(**values["figures"]), values["digest"], values["bytes"])


def _dump(values: Mapping[str, Any]) -> Dump:
    tables = {name: Figures(**one) for name, one in values["tables"].items()}
    return Dump(values["bytes"], values["sha256"], tables)


def _drill(values: Mapping[str, Any]) -> Drill:
    return Drill(
        **dict(values) | {"at": _moment(values["at"]), "reasons": tuple(values["reasons"])}
    )
