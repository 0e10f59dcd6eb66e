"""`python -m embedded.clean`: remove what `make up` and the tools made. The next start begins anew.

The folder `backups` stays: whoever cleans by mistake has nothing else.

Removes only entries that are ours by name, so that an ANALYTICS_DATA which points to a folder with
other things in it loses none of them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from config import SettingsError, load_settings
from embedded.data_folder import Refused, locked

OURS = (
    *("postgres", "nats", "clickhouse", "dagster", "logs", "run"),
    *("demo-history-published", "lock"),
)
BACKUPS = "backups"
CACHES = (".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "build", "dist")


def main() -> int:
    """Exit code: 0 clean, 2 refused."""
    try:
        data = load_settings(os.environ).analytics_data.absolute()
        if data.is_dir():
            with locked(data):
                for name in OURS:
                    remove(data / name)
            # Made with the first start, long before the first backup.
            with contextlib.suppress(OSError):
                (data / BACKUPS).rmdir()
            if not any(data.iterdir()):
                data.rmdir()
    except (SettingsError, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    for name in CACHES:
        remove(Path(name))
    kept = data / BACKUPS
    print(
        f"removed {data} and the caches{f', kept {kept}' if kept.exists() else ''}. Next: make up"
    )
    return 0


def remove(path: Path) -> None:
    """A file, a folder, or a link together with the folder it stands for."""
    if path.is_symlink():
        shutil.rmtree(path.resolve(), ignore_errors=True)
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
