"""Files without a name, for what does not fit into memory. They go with whoever has them open, however that ends."""

from __future__ import annotations

import os
import tempfile
from typing import BinaryIO

_DISK = "/var/tmp"  # noqa: S108 - where large files belong: /tmp may be memory. Nobody else can open what has no name


def nameless() -> BinaryIO:
    """A new one, where ``TMPDIR`` says, or else on a disk."""
    is_said = bool(os.environ.get("TMPDIR")) or not os.access(_DISK, os.W_OK | os.X_OK)
    return tempfile.TemporaryFile(dir=None if is_said else _DISK)
