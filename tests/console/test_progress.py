"""What a runner says of itself, in one line."""

from __future__ import annotations

from crossfade.console.progress import line
from crossfade.observe.progress import Progress

FOLLOWING = Progress(step="following", lag_seconds=1.25)


def test_who_follows_says_the_lag_in_time_paths_and_bytes():
    """And of what it knows nothing but that it is there."""
    assert line(FOLLOWING) == "following; 0 B brought; lag 1.2 s"
    some = Progress(step="following", lag_seconds=1.25, behind=12, behind_bytes=4096)
    assert line(some) == "following; 0 B brought; lag 1.2 s; 12 paths (4.0 KiB) behind"
    unread = Progress(step="following", lag_seconds=1.25, behind=12, behind_bytes=0, unread=12, paused="paused by ada")
    assert line(unread) == "following; 0 B brought; lag 1.2 s; 12 paths (0 B, without 12 unread) behind; paused by ada"
