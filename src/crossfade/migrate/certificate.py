"""The certificate of a migration: what was compared, and what it came to, as a file that others can check."""

from __future__ import annotations

import errno
import json
import os
import shlex
import tempfile
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from crossfade.errors import OptionInvalid, TargetUnwritable, Unreadable
from crossfade.migrate.validate.sides import Sides
from crossfade.migrate.validate.verdict import Verdict
from crossfade.model.certificates import FORMAT, FORMAT_VERSION, Exclusions, sealed
from crossfade.model.entries import RECORD_LIMIT, SEGMENT
from crossfade.model.paths import text_of
from crossfade.model.portable import portable
from crossfade.store.disk import sync_directory
from crossfade.store.location import Location
from crossfade.store.registry import FileRecipe

_MODE = 0o644
_HINT = "--certificate FILE, somewhere beside both sides"


def check_file(path: str, *sides: Location) -> None:
    """Refuse, before anything is compared, a place where no certificate can be written, or where it would change a side."""
    if os.path.isdir(path):
        raise OptionInvalid(
            f"--certificate {path!r} is a directory",
            hint=shlex.join(["--certificate", os.path.join(path, "certificate.json")]),
        )
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise OptionInvalid(
            f"--certificate {path!r}: there is no directory {folder!r}", hint=shlex.join(["mkdir", "-p", folder])
        )
    for side in sides:
        if not side.is_database and _is_below(os.fsencode(folder), os.path.realpath(side.path)):
            raise OptionInvalid(f"--certificate {path!r} lies in {side}, which it would change", hint=_HINT)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(path, os.strerror(errno.EACCES))


def _is_below(folder: bytes, root: bytes) -> bool:
    return folder == root or folder.startswith(root.rstrip(b"/") + b"/")


def write(path: str, certificate: dict[str, Any]) -> None:
    """Have *certificate* at *path*: all of it, on disk, or what was there before. Raises TargetUnwritable."""
    folder, name = os.path.split(os.path.realpath(path))
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder)
        try:
            with open(handle, "w", encoding="ascii") as file:
                json.dump(certificate, file, indent=1)
                file.write("\n")
                file.flush()
                os.fchmod(file.fileno(), _MODE)
                os.fsync(file.fileno())
            os.replace(temporary, os.path.join(folder, name))
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        sync_directory(folder)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def _unwritable(path: str, why: str) -> TargetUnwritable:
    return TargetUnwritable(f"cannot write the certificate {path!r}: {why}", hint=_HINT)


def certificate(sides: Sides, verdict: Verdict) -> dict[str, Any]:
    """What *verdict* says of *sides*, with all that is needed to check it: no secret, no content.

    Raises Unreadable where more could not be read than *verdict* names: nobody could tell what the roots leave out.
    """
    found = verdict.findings
    if found.unread_count > len(found.unreadable) and verdict.exit != 3:
        raise Unreadable(
            f"{found.unread_count:,} paths could not be read, more than a certificate names: none was written",
            hint="mend their permissions and repeat the command, or leave --certificate out",
        )
    return sealed(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "crossfade": metadata.version("crossfade"),
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "migration": verdict.migration or None,
            "store": sides.store,
            "source": _place(sides.source),
            "target": _place(sides.target),
            "layout": {"name": sides.layout.name, "fingerprint": sides.layout.fingerprint, "rules": portable(sides.layout)},
            "segment_bytes": SEGMENT,
            "record_bytes_max": RECORD_LIMIT,
            "moved": {"kinds": None if sides.kinds is None else sorted(sides.kinds), "include_transient": _transient(sides)},
            "verdict": _verdict(verdict),
            "classes": {klass: count for klass, count in found.classes.items() if count},
            "roots": {"source": found.source_root.hex(), "target": found.target_root.hex()},
            "entries": found.rooted,
            "directories": found.directories,
            "links": found.links,
            "kinds": verdict.kinds,
            "exclusions": _exclusions(sides).values(),
            "quarantine": _quarantine(sides),
            "unreadable": [{"path": text_of(path), "why": why} for path, why in found.unreadable],
            "waypoints": [[number, text_of(path), root.hex()] for number, path, root in found.waypoints],
        }
    )


def _verdict(verdict: Verdict) -> str:
    """In one word. Where something had to be looked at again, the roots are of no one instant, and prove nothing."""
    found = verdict.findings
    return "moving" if verdict.exit != 3 and verdict.shaken and found.source_root != found.target_root else verdict.state


def _place(location: Location) -> dict[str, Any]:
    return {
        "url": location.url,
        "form": "database" if location.is_database else "files",
        "schema": location.schema if location.is_database else None,
    }


def _transient(sides: Sides) -> bool:
    return sides.reads.include_transient if isinstance(sides.reads, FileRecipe) else True


def _exclusions(sides: Sides) -> Exclusions:
    """What the source's walk passes by; a database holds nothing that is not moved."""
    exclusions = Exclusions()
    if not isinstance(sides.reads, FileRecipe) or not sides.reads_source:
        return exclusions
    store = sides.reads.open()
    try:
        for found in store.walk():
            if not store.moves(found):
                exclusions.add(found.entry.path, found.fate, found.placement.rule, text_of(found.entry.path))
    finally:
        store.close()
    return exclusions


def _quarantine(sides: Sides) -> list[dict[str, Any]]:
    if not sides.name:
        return []
    items = [item for state in ("held", "ignored") for item in sides.asked.quarantine(sides.name, state)]
    return [
        {name: asdict(item)[name] for name in ("path", "kind", "pos", "size", "code", "state")}
        for item in sorted(items, key=lambda item: item.item)
    ]
