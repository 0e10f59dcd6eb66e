"""Where backups are: a disk of the ClickHouse server, or a bucket of S3.

A backup is a folder `<backup id>/` of the target:

    clickhouse/       what BACKUP wrote, read and written by the ClickHouse server alone
    postgres.dump     pg_dump's custom format
    manifest.json     written last: a folder without it is no whole backup
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from clickhouse_connect.driver.client import Client
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from config import Settings
from pipelines.defs.backups.record import Backup
from sql import statement

MANIFEST = "manifest.json"
DUMP = "postgres.dump"
WAREHOUSE = "clickhouse"
DEFAULT_REGION = "us-east-1"
# Objects that one request of S3 deletes.
DELETE_BATCH = 1000


class TargetError(RuntimeError):
    """The target can't be used; one line that says what to do."""


@dataclass(frozen=True)
class Target:
    """`name` is what the catalogue calls it. `where` begins the place of each backup: a disk's name
    for a disk, an address for S3.
    """

    name: str
    where: str
    is_disk: bool
    store: LocalStore | S3Store

    def location(self, backup_id: str) -> tuple[str, ...]:
        """The warehouse's part of a backup as ClickHouse's function and its arguments."""
        if self.is_disk:
            return ("Disk", self.where, f"{backup_id}/{WAREHOUSE}")
        return ("S3", f"{self.where}/{backup_id}/{WAREHOUSE}")

    def backup_ids(self) -> set[str]:
        """Every folder of the target; whether it is whole, its manifest tells."""
        with _named(self.name):
            folders = self.store.list_with_delimiter()["common_prefixes"]
        return {folder.rstrip("/") for folder in folders}

    def read_manifest(self, backup_id: str) -> Backup | None:
        """The manifest; None where there is none, so that the folder is no whole backup.

        Raises:
            ValueError: it can't be read as one.
        """
        try:
            text = bytes(self.store.get(f"{backup_id}/{MANIFEST}").bytes()).decode()
        except FileNotFoundError:
            return None
        return Backup.from_json(text)

    def write_manifest(self, backup: Backup) -> None:
        """Write or replace; on a disk and in S3 alike the old one or the new one is seen."""
        with _named(self.name):
            self.store.put(f"{backup.backup_id}/{MANIFEST}", backup.to_json().encode())

    def write_dump(self, backup_id: str, dump: Path) -> None:
        """Copy the dump of Postgres there."""
        with _named(self.name):
            self.store.put(f"{backup_id}/{DUMP}", dump)

    def read_dump(self, backup_id: str, to: Path) -> None:
        """Copy the dump of Postgres to a file.

        Raises:
            TargetError: there is none.
        """
        try:
            with to.open("wb") as file:
                for chunk in self.store.get(f"{backup_id}/{DUMP}").stream():
                    file.write(chunk)
        except FileNotFoundError:
            raise TargetError(f"{backup_id}/{DUMP} is missing in {self.name}") from None

    def delete(self, backup_id: str) -> None:
        """Remove the whole folder. The manifest goes first, so that a half removed backup is never
        taken for a whole one; repeating it removes what was left.
        """
        with _named(self.name):
            with contextlib.suppress(FileNotFoundError):
                self.store.delete(f"{backup_id}/{MANIFEST}")
            for batch in self.store.list(f"{backup_id}/", chunk_size=DELETE_BATCH):
                self.store.delete([one["path"] for one in batch])


def open_target(settings: Settings, ch: Client) -> Target:
    """The target of `BACKUP_TARGET`.

    Credentials for S3 are in no setting of ours: both this process and the ClickHouse server take
    them from their own environment (`AWS_ACCESS_KEY_ID` …), so no statement carries any.

    Raises:
        TargetError: the server has no such disk, or its folder is not seen here.
    """
    given = settings.backup_target
    return _bucket(given) if given.startswith("s3://") else _disk(given, ch)


def _bucket(given: str) -> Target:
    parts = urlsplit(given)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    region = options.get("region", DEFAULT_REGION)
    endpoint = options.get("endpoint", f"https://s3.{region}.amazonaws.com").rstrip("/")
    prefix = parts.path.strip("/")
    store = S3Store(
        parts.netloc,
        prefix=prefix or None,
        region=region,
        endpoint=endpoint,
        # The path style works with every server that speaks S3, the other one needs their DNS.
        virtual_hosted_style_request=False,
        client_options={"allow_http": endpoint.startswith("http://")},
    )
    where = "/".join(part for part in (endpoint, parts.netloc, prefix) if part)
    return Target(f"s3://{parts.netloc}/{prefix}".rstrip("/"), where, False, store)


def _disk(name: str, ch: Client) -> Target:
    rows: Sequence[Sequence[str]] = ch.query(
        statement("clickhouse/select_disk_path"), parameters={"disk": name}
    ).result_rows
    if not rows:
        raise TargetError(f"BACKUP_TARGET: the ClickHouse server has no disk {name!r}")
    folder = Path(rows[0][0])
    if not os.access(folder, os.W_OK):
        raise TargetError(
            f"BACKUP_TARGET: {folder}, where the ClickHouse server has its disk {name!r}, can't be "
            "written from here; mount the same folder at the same place, or use s3://"
        )
    return Target(f"disk {name}", name, True, LocalStore(folder, automatic_cleanup=True))


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise TargetError(f"{name}: {' '.join(str(error).split())[:500]}") from None
