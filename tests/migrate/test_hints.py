"""What the file system says of a live tree, heard as it happens; and whatever may have been missed is said to be."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inotify_simple import Event, INotify, flags

from crossfade.migrate.follow import inotify
from crossfade.migrate.follow.hints import Watch
from crossfade.migrate.follow.inotify import Watches
from crossfade.migrate.follow.queue import happened
from crossfade.model import layouts
from crossfade.store.backends.file.walk import left_out_by

_SECONDS = 10.0


class Ear:
    """What was heard, and how often something may have been missed."""

    def __init__(self) -> None:
        self.heard: dict[bytes, bool] = {}
        self.missed = 0

    def hear(self, paths: dict[bytes, bool]) -> None:
        for path, deep in paths.items():
            self.heard[path] = self.heard.get(path, False) or deep

    def miss(self) -> None:
        self.missed += 1


def is_nothing(path: bytes, is_directory: bool) -> bool:
    """All is moved."""
    return False


def wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/a/b").mkdir(parents=True)
    return tmp_path / "root"


@pytest.fixture
def watch(root: Path, ear: Ear) -> Iterator[Watch]:
    with Watch(os.fsencode(root), ear.hear, ear.miss, is_nothing) as watch:
        wait(lambda: watch.hears_all)
        yield watch


def test_when_a_watch_is_up_all_before_may_have_been_missed(watch: Watch, ear: Ear):
    assert ear.missed == 1


def test_what_is_written_is_heard_with_the_directory_of_what_came(watch: Watch, ear: Ear, root: Path):
    (root / "a/b/new").write_bytes(b"1")
    wait(lambda: {b"a/b/new", b"a/b"} <= ear.heard.keys())
    assert ear.missed == 1


def test_a_name_that_is_not_text_is_heard_as_it_is(watch: Watch, ear: Ear, root: Path):
    (Path(os.fsdecode(os.fsencode(root) + b"/a/\xff\xfe"))).write_bytes(b"1")
    wait(lambda: b"a/\xff\xfe" in ear.heard)
    assert (ear.missed, watch.trouble) == (1, "")


def test_what_lies_in_a_new_directory_is_to_be_looked_at_and_heard_from_then_on(watch: Watch, ear: Ear, root: Path):
    (root / "new/deep/deeper").mkdir(parents=True)
    wait(lambda: ear.heard.get(b"new"))
    (root / "new/deep/deeper/file").write_bytes(b"1")
    wait(lambda: b"new/deep/deeper/file" in ear.heard)


def test_a_directory_that_moved_is_heard_where_it_stands_now(watch: Watch, ear: Ear, root: Path):
    (root / "a/b").rename(root / "moved")
    wait(lambda: ear.heard.get(b"moved") and ear.heard.get(b"a/b"))
    ear.heard.clear()
    (root / "moved/file").write_bytes(b"1")
    wait(lambda: b"moved/file" in ear.heard)
    assert not [path for path in ear.heard if path.startswith(b"a/b")]


def test_a_directory_that_left_the_tree_is_heard_no_more(watch: Watch, ear: Ear, root: Path):
    (root / "a/b").rename(root.parent / "outside")
    wait(lambda: ear.heard.get(b"a/b"))
    ear.heard.clear()
    (root.parent / "outside/file").write_bytes(b"1")
    (root / "file").write_bytes(b"1")
    wait(lambda: b"file" in ear.heard)
    assert set(ear.heard) == {b"file", b""}


def exchange(one: Path, other: Path) -> None:
    """Have two names change places at once, as no shell can."""
    at_cwd, both = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), both):
        raise OSError(ctypes.get_errno(), "renameat2")


@pytest.mark.parametrize("at_once", [True, False])
def test_directories_that_changed_places_are_both_heard(root: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool):
    """Each leaves where the other came already; the kernel tells it one after the other, perhaps to two reads."""
    (root / "c/d").mkdir(parents=True)
    with Watches(os.fsencode(root), is_nothing) as watches:
        exchange(root / "a", root / "c")
        if not at_once:
            events = iter(happened(watches._queue))
            monkeypatch.setattr(inotify, "happened", lambda _: [event] if (event := next(events, None)) else [])
            while watches.read().paths:
                pass
            monkeypatch.undo()
        watches.read()
        written = {b"a/1", b"a/d/1", b"c/1", b"c/b/1"}
        for path in written:
            (root / os.fsdecode(path)).touch()
        assert (written - watches.read().paths.keys(), watches.trouble) == (set(), "")


def test_what_was_exchanged_back_is_heard(root: Path):
    (root / "c").mkdir()
    with Watches(os.fsencode(root), is_nothing) as watches:
        exchange(root / "a", root / "c")
        exchange(root / "c", root / "a")
        watches.read()
        (root / "a/b/1").touch()
        (root / "c/1").touch()
        assert {b"a/b/1", b"c/1"} <= watches.read().paths.keys()


@pytest.mark.parametrize("mask", [flags.UNMOUNT, flags.IGNORED])
def test_a_directory_that_goes_without_a_word_of_its_parent_has_all_looked_at(
    root: Path, ear: Ear, monkeypatch: pytest.MonkeyPatch, mask: int
):
    """As when what was mounted below the root is unmounted: what stood under it is there again, and nobody is told."""
    told: list[Event] = []
    monkeypatch.setattr(inotify, "happened", lambda queue: [told.pop()] if told else happened(queue))
    monkeypatch.setattr("crossfade.migrate.follow.hints._AGAIN_SECONDS", 0.05)
    with Watch(os.fsencode(root), ear.hear, ear.miss, is_nothing) as watch:
        wait(lambda: watch.hears_all)
        assert watch._watches is not None
        number = next(number for number, path in watch._watches._paths.items() if path == b"a/b")
        told.append(Event(number, mask, 0, ""))
        wait(lambda: ear.missed >= 3)  # the end of the one, the beginning of the other
        wait(lambda: watch.hears_all)
        (root / "a/b/file").touch()
        wait(lambda: b"a/b/file" in ear.heard)


def test_directories_that_are_removed_or_moved_are_no_reason_to_begin_anew(watch: Watch, ear: Ear, root: Path):
    (root / "a/b").rename(root / "c")
    wait(lambda: b"c" in ear.heard)
    (root / "c").rmdir()
    (root / "a").rename(root.parent / "outside")
    wait(lambda: b"a" in ear.heard)
    (root / "file").touch()
    wait(lambda: b"file" in ear.heard)
    assert (ear.missed, watch.hears_all) == (1, True)


def test_a_link_to_a_directory_is_not_followed(watch: Watch, ear: Ear, root: Path):
    (root.parent / "outside").mkdir()
    (root / "link").symlink_to(root.parent / "outside")
    wait(lambda: b"link" in ear.heard)
    (root.parent / "outside/file").write_bytes(b"1")
    (root / "file").write_bytes(b"1")
    wait(lambda: b"file" in ear.heard)
    assert not [path for path in ear.heard if path.startswith(b"link/")]


def test_behind_the_barrier_all_is_heard(watch: Watch, ear: Ear, root: Path, tmp_path: Path):
    (tmp_path / "barrier").mkdir()
    watch.meet_in(os.fsencode(tmp_path / "barrier"))
    for number in range(50):
        (root / f"a/{number}").write_bytes(b"1")
        assert watch.has_met(_SECONDS)
        assert b"a/%d" % number in ear.heard


def test_a_log_that_grows_is_told_of_once_until_names_change(root: Path):
    """A thousand lines are one hint; a name that is another file's by then is told of again."""
    with Watches(os.fsencode(root), is_nothing) as watches:
        logs = [(root / name).open("ab", buffering=0) for name in ("1", "2")]
        happened(watches._queue)
        for _ in range(1000):
            for log in logs:
                log.write(b"line")
        (root / "1").rename(root / "3")
        for log in logs:
            log.write(b"line")
        told = [(event.name, flags.from_mask(event.mask)) for event in happened(watches._queue)]
        writes = [("1", [flags.MODIFY]), ("2", [flags.MODIFY])]
        moves = [("1", [flags.MOVED_FROM]), ("3", [flags.MOVED_TO])]
        assert told == [*writes, *moves, ("3", [flags.MODIFY]), ("2", [flags.MODIFY])]


def test_each_kind_of_write_is_told_of(root: Path):
    """Also that of a file whose time alone was set, and that of one which was closed."""
    with Watches(os.fsencode(root), is_nothing) as watches:
        for _ in range(3):
            (root / "1").write_bytes(b"line")
            os.utime(root / "1")
        told = [flags.from_mask(event.mask) for event in happened(watches._queue)]
        assert told[0] == [flags.CREATE]
        assert sorted(told[1:]) == [[flags.MODIFY], [flags.ATTRIB], [flags.CLOSE_WRITE]]


def test_a_queue_that_overflows_says_so(root: Path):
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with Watches(os.fsencode(root), is_nothing) as watches:
        for number in range(most // 2 + 1):  # each is created, and closed after writing
            (root / f"a/{number}").touch()
        assert watches.read().lost
        assert "more happened at once" in watches.trouble
        assert watches.read().lost, "directories that came meanwhile are watched by now: what they held was not heard"
        assert (watches.read().lost, watches.trouble) == (False, "")


def test_what_came_while_the_queue_was_full_is_heard_from_then_on(root: Path):
    """A directory that was made, and one that was moved."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with Watches(os.fsencode(root), is_nothing) as watches:
        for number in range(most // 2 + 1):
            (root / f"a/{number}").touch()
        (root / "late/below").mkdir(parents=True)
        (root / "a/b").rename(root / "moved")
        assert watches.read().lost
        assert watches.read().lost
        (root / "late/below/x").touch()
        (root / "moved/y").touch()
        assert {b"late/below/x", b"moved/y"} <= watches.read().paths.keys()


def busy(monkeypatch: pytest.MonkeyPatch, root: Path, events: int) -> None:
    """While a directory is watched, somebody touches two files in *root*, so that nothing of it is merged: so many times."""

    def add(self: INotify, path: bytes, mask: int, add: Callable[..., int] = INotify.add_watch) -> int:
        for number in range(events):
            os.utime(root / f"busy-{number % 2}")
        return add(self, path, mask)

    for number in range(2):
        (root / f"busy-{number}").touch()
    monkeypatch.setattr(INotify, "add_watch", add)


OVERFLOW = Event(-1, flags.Q_OVERFLOW, 0, "")


def test_to_watch_a_large_tree_in_which_much_happens_misses_nothing(root: Path, monkeypatch: pytest.MonkeyPatch):
    """At the beginning, and after the queue was full: or it would be full again each time, and the tree never in step."""
    most, directories = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text()), 1000
    for number in range(directories):
        (root / f"a/{number}").mkdir()
    busy(monkeypatch, root, most // directories + 2)
    with Watches(os.fsencode(root), is_nothing) as watches:
        news = watches.read()
        assert (news.lost, watches.trouble) == (False, "")
        assert {b"busy-0", b"busy-1"} <= news.paths.keys()
        with monkeypatch.context() as full:
            full.setattr(inotify, "happened", lambda _: [OVERFLOW])
            assert watches.read().lost
        assert watches.read().lost, "all is watched anew, and looked at"
        assert (watches.read().lost, watches.trouble) == (False, "")
        (root / "a/0/file").touch()
        assert b"a/0/file" in watches.read().paths


def test_what_waits_to_be_heard_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch):
    """What is more than that waits in the queue, which says that it was full."""
    for name in ("_EVERY", "_AHEAD_MOST"):
        monkeypatch.setattr(f"crossfade.migrate.follow.inotify.{name}", 1)
    for number in range(10):
        (root / f"a/{number}").mkdir()
    busy(monkeypatch, root, 4)
    with Watches(os.fsencode(root), is_nothing) as watches:
        assert len(watches._ahead) <= 8
        assert {b"busy-0", b"busy-1"} <= watches.read().paths.keys()


def shut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ``a/b``, as of a directory that another account keeps to itself: root may read everything."""

    def shut(self: Watches, path: bytes, add: Callable[..., bool] = Watches._watch) -> bool:
        if path == b"a/b":
            self._leave_out(path, OSError(errno.EACCES, "permission denied"))
            return False
        return add(self, path)

    monkeypatch.setattr(Watches, "_watch", shut)


@pytest.mark.parametrize("goes", [Path.rmdir, lambda path: path.rename(path.with_name("moved"))], ids=["removed", "moved"])
def test_a_directory_without_a_watch_that_went_while_the_queue_was_full_is_no_trouble_any_more(
    root: Path, monkeypatch: pytest.MonkeyPatch, goes: Callable[[Path], object]
):
    """Nobody tells that it went: all is watched anew, and what is not met is not there."""

    shut_out(monkeypatch)
    monkeypatch.setattr("crossfade.migrate.follow.inotify._NAMED", 1)
    with Watches(os.fsencode(root), is_nothing) as watches:
        watches._leave_out(b"another", OSError(errno.EACCES, "permission denied"))
        goes(root / "a/b")
        list(happened(watches._queue))
        with monkeypatch.context() as full:
            full.setattr(inotify, "happened", lambda _: [OVERFLOW])
            assert watches.read().lost
        assert watches.read().lost
        assert watches.trouble == ""


def test_what_a_directory_holds_that_opens_is_to_be_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing was known of it. Root may read everything, so it is a stand-in that is shut."""
    (root / "a/b/before").touch()
    is_shut = True

    def shut(self: Watches, path: bytes, add: Callable[..., bool] = Watches._watch) -> bool:
        if path == b"a/b" and is_shut:
            self._leave_out(path, OSError(errno.EACCES, "permission denied"))
            return False
        return add(self, path)

    monkeypatch.setattr(Watches, "_watch", shut)
    with Watches(os.fsencode(root), is_nothing) as watches:
        assert "'a/b' first" in watches.trouble
        is_shut = False
        (root / "a/b").chmod(0o755)
        assert watches.read().paths[b"a/b"] is True
        assert watches.trouble == ""


def test_a_directory_without_a_watch_that_goes_is_no_trouble_any_more(root: Path, monkeypatch: pytest.MonkeyPatch):
    shut_out(monkeypatch)
    with Watches(os.fsencode(root), is_nothing) as watches:
        (root / "a").rename(root.parent / "outside")
        watches.read()
        assert watches.trouble == ""


def test_a_directory_that_moved_and_went_is_no_reason_to_begin_anew(root: Path):
    """As a program does that takes a directory away in two steps: its watch is gone before it is taken away."""
    with Watches(os.fsencode(root), is_nothing) as watches:
        (root / "a").rename(root / "old")
        (root / "old/b").rmdir()
        (root / "old").rmdir()
        watches.read()
        (root / "file").touch()
        assert b"file" in watches.read().paths


def test_what_is_not_moved_is_not_heard_of(root: Path):
    """A build in a worktree takes no watches, and is no news; its directory's time is."""
    (root / "worktrees/r/w/src").mkdir(parents=True)
    with Watches(os.fsencode(root), left_out_by(layouts.load("prodigy"), include_transient=False)) as watches:
        watched = set(watches._paths.values())
        (root / "worktrees/r/w/src/main.rs").touch()
        (root / "worktrees/r/w/target/debug").mkdir(parents=True)
        (root / "a/kept.json").touch()
        heard = watches.read().paths
    assert {b"worktrees/r", b"a/b"} <= watched
    assert not [path for path in watched if path.startswith(b"worktrees/r/w/")]
    assert b"a/kept.json" in heard
    assert not [path for path in heard if path.startswith(b"worktrees/r/w/")]


def test_another_volume_below_the_root_is_watched_anew(root: Path, ear: Ear, monkeypatch: pytest.MonkeyPatch):
    """Nobody tells that something is mounted on a directory."""
    monkeypatch.setattr("crossfade.migrate.follow.hints._CHECK_SECONDS", 0.05)
    monkeypatch.setattr("crossfade.migrate.follow.hints._AGAIN_SECONDS", 0.05)
    mounted: dict[bytes, bytes] = {}
    monkeypatch.setattr("crossfade.migrate.follow.inotify.mounts_below", lambda root: dict(mounted))
    with Watch(os.fsencode(root), ear.hear, ear.miss, is_nothing) as watch:
        wait(lambda: watch.hears_all)
        mounted[b"a"] = b"8:2"
        wait(lambda: ear.missed >= 3)
        wait(lambda: watch.hears_all)


def test_a_volume_in_what_is_not_moved_is_no_news(root: Path, monkeypatch: pytest.MonkeyPatch):
    """A build mounts and unmounts in its worktree as it likes."""
    (root / "worktrees/r/w/cache").mkdir(parents=True)
    mounted: dict[bytes, bytes] = {}
    monkeypatch.setattr("crossfade.migrate.follow.inotify.mounts_below", lambda root: dict(mounted))
    with Watches(os.fsencode(root), left_out_by(layouts.load("prodigy"), include_transient=False)) as watches:
        mounted[b"worktrees/r/w/cache"] = b"8:2"
        watches.check_root()
        mounted[b"a"] = b"8:3"
        with pytest.raises(OSError, match="other volumes"):
            watches.check_root()


def test_a_volume_of_others_in_what_is_not_moved_makes_no_tree_shared(
    root: Path, ear: Ear, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A worktree on a file server: whoever hands over need not look at everything for that."""
    table, barrier = tmp_path / "mountinfo", tmp_path / "barrier"
    barrier.mkdir()
    monkeypatch.setattr("crossfade.store.backends.file.mounts._TABLE", str(table))
    watch = Watch(os.fsencode(root), ear.hear, ear.miss, left_out_by(layouts.load("prodigy"), include_transient=False))
    for place, is_shared in ((b"worktrees/r/w", False), (b"a", True)):
        table.write_bytes(b"36 30 0:31 / %s/%s rw - nfs4 host:/export rw\n" % (os.fsencode(root.resolve()), place))
        watch.meet_in(os.fsencode(barrier))
        assert watch.is_shared is is_shared


def test_a_root_that_is_replaced_is_watched_anew_and_all_may_have_been_missed(watch: Watch, ear: Ear, root: Path):
    root.rename(root.parent / "old")
    root.mkdir()
    wait(lambda: ear.missed >= 3)  # the end of the one, the beginning of the other
    wait(lambda: watch.hears_all)
    (root / "file").write_bytes(b"1")
    wait(lambda: b"file" in ear.heard)


def test_a_root_that_is_gone_is_trouble(watch: Watch, root: Path):
    root.rename(root.parent / "old")
    wait(lambda: "no hints" in watch.trouble)
    assert not watch.hears_all


@pytest.mark.parametrize(
    ("number", "why"), [(errno.ENOSPC, "max_user_watches"), (errno.EACCES, "1 directories cannot be watched, 'a/b' first")]
)
def test_a_directory_without_a_watch_is_trouble(root: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str):
    """The machine's limit cannot be lowered for one test, and root may read everything."""

    def full(self: Watches, path: bytes, add: Callable[..., bool] = Watches._watch) -> bool:
        if path == b"a/b":
            self._leave_out(path, OSError(number, "not this one"))
            return False
        return add(self, path)

    monkeypatch.setattr(Watches, "_watch", full)
    ear = Ear()
    with Watch(os.fsencode(root), ear.hear, ear.miss, is_nothing) as watch:
        wait(lambda: why in watch.trouble)
        assert not watch.hears_all


def test_once_the_machine_has_watches_again_all_is_heard(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Whoever raises the limit need not start the runner again; what happened meanwhile may have been missed."""
    is_full = True

    def full(self: Watches, path: bytes, add: Callable[..., bool] = Watches._watch) -> bool:
        if path == b"a/b" and is_full:
            self._leave_out(path, OSError(errno.ENOSPC, "no watch is left"))
            return False
        return add(self, path)

    monkeypatch.setattr(Watches, "_watch", full)
    monkeypatch.setattr("crossfade.migrate.follow.hints._LIMIT_SECONDS", 0.05)
    monkeypatch.setattr("crossfade.migrate.follow.hints._AGAIN_SECONDS", 0.05)
    ear = Ear()
    with Watch(os.fsencode(root), ear.hear, ear.miss, is_nothing) as watch:
        wait(lambda: "max_user_watches" in watch.trouble)
        time.sleep(0.3)
        assert (watch.hears_all, ear.missed) == (False, 1), "it began anew though there is no more room than before"
        is_full = False
        wait(lambda: watch.hears_all)
        assert ear.missed >= 2
        (root / "a/b/file").touch()
        wait(lambda: b"a/b/file" in ear.heard)
