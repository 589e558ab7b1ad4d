"""What a restore makes of a directory, before it writes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossfade.errors import TargetForeign
from crossfade.migrate.restore import first_name
from crossfade.store.location import parse


def test_what_a_new_file_system_begins_with_is_nothing(tmp_path: Path):
    """An ext4 volume is never quite empty; and an interrupted restore leaves our own staging behind."""
    assert first_name(parse(str(tmp_path / "not there"))) == ""
    (tmp_path / "lost+found").mkdir()
    (tmp_path / ".crossfade").mkdir()
    assert first_name(parse(str(tmp_path))) == ""
    (tmp_path / "state").write_bytes(b"")
    assert first_name(parse(str(tmp_path))) == "state"
    with pytest.raises(TargetForeign):
        first_name(parse(str(tmp_path / "state")))
