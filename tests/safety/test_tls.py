"""TLS as libpq has it: every mode, every file, by the URL and by the environment; a refusal says why, and carries no secret."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade.testing import prodigy
from support import tls
from support.cluster import Cluster
from support.person import Person, refused
from support.running import Run
from support.tls import FILES, KEY_PHRASE, Secured

AUTHORITY = FILES / "authority.crt"
STRANGER = FILES / "stranger.crt"


@pytest.fixture(scope="module", params=tls.NAMES)
def server(request: pytest.FixtureRequest) -> Iterator[Secured]:
    """Each server that speaks TLS, and nothing else."""
    with tls.secured(request.param) as running:
        running.cluster.changes_password("canary p@ss/word:%?#'\"$")
        yield running


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Private keys as libpq takes them: nobody else may read them, which no repository can keep."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for file in FILES.glob("*.key"):
        (folder / file.name).write_bytes(file.read_bytes())
        (folder / file.name).chmod(0o600)
    return folder


@pytest.fixture
def asking(person: Person, server: Secured) -> Person:
    """Somebody who knows the password."""
    person.environment |= {"PGPASSWORD": server.cluster.password, "CROSSFADE_PATIENCE_SECONDS": "60"}
    return person


def silent(run: Run, server: Secured) -> Run:
    """No secret in what was said, and no time lost with trying again."""
    for secret in (server.cluster.password, "canary%20p", KEY_PHRASE, "BEGIN"):
        assert secret not in run.out + run.err, run
    assert run.seconds < 10, run
    return run


def test_every_mode_that_the_server_satisfies(asking: Person, server: Secured, tiny: Path):
    """By the URL; what is written down, and shown as the next command, keeps it. The server takes nothing but TLS."""
    url = server.url("modes", sslmode="verify-full", sslrootcert=AUTHORITY)
    silent(asking.moves(tiny, url), server)
    shown = silent(asking.types("status", tiny, url), server)

    assert (
        f"sslrootcert={AUTHORITY}&sslmode=verify-full" in shown.out
        or f"sslmode=verify-full&sslrootcert={AUTHORITY}" in shown.out
    )
    for mode in ("allow", "prefer", "require", "verify-ca"):
        for more in ({"sslrootcert": AUTHORITY}, {}):
            if more or mode != "verify-ca":
                run = silent(asking.types("list", "--store", server.url("modes", sslmode=mode, **more)), server)
                assert (run.status, run.err, "copied" in run.out) == (0, "", True), run


def test_the_environment_says_what_the_url_does_not(asking: Person, server: Secured, keys: Path, tiny: Path):
    """PGSSLMODE and its like, in the process that was started and in its workers."""
    prodigy.write_logs(str(tiny / "more"), events=16_000, logs=4)  # worth processes of their own
    files = {"PGSSLROOTCERT": str(AUTHORITY), "PGSSLCERT": str(FILES / "client.crt"), "PGSSLKEY": str(keys / "client.key")}
    asking.environment |= {"PGSSLMODE": "verify-full", **files}
    words = ("start", tiny, server.url("environment", user="certified"), "--once", "--workers", "2")
    run = silent(asking.apart(*words), server)

    assert run.status == 0, run
    asking.environment["PGSSLROOTCERT"] = str(STRANGER)
    refused(asking.apart(*words), "CF212", 2)


REFUSED = {
    "another host": ({"sslmode": "verify-full", "sslrootcert": AUTHORITY, "host": "db.example.org"}, "for another host"),
    "another authority": ({"sslmode": "verify-ca", "sslrootcert": STRANGER}, "not of a trusted authority"),
    "an authority where none was asked for": ({"sslmode": "require", "sslrootcert": STRANGER}, "not of a trusted authority"),
    "a fall-back that is refused, too": ({"sslmode": "prefer", "sslrootcert": STRANGER}, "not of a trusted authority"),
    "no authority": ({"sslmode": "verify-full", "sslrootcert": "/nowhere/root.crt"}, "the file of trusted authorities"),
    "no authority in its file": ({"sslmode": "verify-full", "sslrootcert": Path(__file__)}, "the file of trusted"),
    "this machine's authorities": ({"sslmode": "verify-full", "sslrootcert": "system"}, "not of a trusted authority"),
    "no certificate": ({"user": "certified", "sslmode": "require"}, "wants a client certificate"),
    "a stranger's certificate": (
        {"user": "certified", "sslmode": "require", "own": "intruder"},
        "wants a client certificate",
    ),
    "no key": ({"user": "certified", "own": "client", "sslkey": "/nowhere/key"}, "the file or its key cannot be used"),
    "the key of another": ({"user": "certified", "own": "client", "sslkey": "server.key"}, "the file or its key cannot be"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mode_that_the_server_does_not_satisfy(asking: Person, server: Secured, keys: Path, tiny: Path, case: str):
    """One coded error that says why and what to do, at once."""
    options, says = REFUSED[case]
    given = dict(options)
    if own := given.pop("own", None):
        given = {"sslcert": FILES / f"{own}.crt", "sslkey": f"{own}.key", **given}
        given["sslkey"] = keys / str(given["sslkey"])
    url = server.url("refused", **given)  # type: ignore[arg-type]
    sentence, hint = refused(silent(asking.types("start", tiny, url, "--once"), server), "CF212", 2)

    assert says in sentence
    assert any(option in hint for option in ("sslmode", "sslrootcert", "sslcert"))


def test_every_verb_says_so(asking: Person, server: Secured, tiny: Path):
    """Whichever side the server is on."""
    url, back = server.url("verbs", sslmode="verify-full", sslrootcert=STRANGER), tiny.parent / "back"
    for words in (("plan", tiny, url), ("start", url, back, "--once"), ("status", "--store", url), ("validate", tiny, url)):
        refused(silent(asking.types(*words), server), "CF212", 2)
    looked = silent(asking.types("doctor", "--store", url), server)

    assert looked.status == 2
    assert "CF212" in looked.out
    assert not back.exists()


def test_a_certificate_that_is_out_of_date(asking: Person, server: Secured, tiny: Path):
    """Also while a run is under way: a server that comes back with it is not waited for."""
    server.wears("expired")
    try:
        url = server.url("expired", sslmode="verify-full", sslrootcert=AUTHORITY)
        sentence, _ = refused(silent(asking.types("start", tiny, url, "--once"), server), "CF212", 2)
    finally:
        server.wears("server")
    assert "not of today" in sentence


def test_a_server_that_takes_nothing_but_tls(asking: Person, server: Secured, tiny: Path):
    """Somebody who switched it off is told to switch it on."""
    run = silent(asking.types("start", tiny, server.url("plain", sslmode="disable"), "--once"), server)
    sentence, hint = refused(run, "CF204", 2)

    assert "without TLS" in sentence
    assert "sslmode=require" in hint


def test_a_key_that_others_may_read(asking: Person, server: Secured, keys: Path, tiny: Path):
    """libpq does not take it; the hint has the command."""
    (keys / "client.key").chmod(0o644)
    url = server.url("loose", user="certified", sslcert=FILES / "client.crt", sslkey=keys / "client.key")
    _, hint = refused(silent(asking.types("start", tiny, url, "--once"), server), "CF212", 2)

    assert "chmod 600" in hint


def test_the_phrase_of_a_key_comes_from_a_service_file(asking: Person, server: Secured, keys: Path, tiny: Path):
    """Which is where a secret that no environment variable can carry belongs; a URL is refused."""
    files = f"sslcert={FILES / 'client.crt'}\nsslkey={keys / 'locked.key'}\nsslmode=verify-full\nsslrootcert={AUTHORITY}\n"
    service = keys / "service"
    service.write_text(f"[locked]\n{files}sslpassword={KEY_PHRASE}\n")
    asking.environment["PGSERVICEFILE"] = str(service)
    silent(asking.moves(tiny, server.url("locked", user="certified", service="locked")), server)

    service.write_text(f"[locked]\n{files}sslpassword=another\n")
    run = asking.types("status", tiny, server.url("locked", user="certified", service="locked"))
    refused(silent(run, server), "CF212", 2)
    assert "another" not in run.err.replace("another one", "")
    url = server.url("locked", sslpassword=KEY_PHRASE)
    refused(silent(asking.types("start", tiny, url, "--once"), server), "CF101", 1)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_server_without_tls(person: Person, cluster: Cluster, tiny: Path, mode: str):
    """What was asked for is not there, and is not gone without."""
    url = f"{cluster.url('bare')}&sslmode={mode}&sslrootcert={AUTHORITY}"
    run = person.types("start", tiny, url, "--once", PGPASSWORD=cluster.password)
    sentence, hint = refused(run, "CF212", 2)

    assert "speaks no TLS" in sentence
    assert "ssl = on" in hint
    assert cluster.password not in run.err


@pytest.mark.parametrize("mode", ["disable", "prefer"])
def test_a_server_without_tls_where_none_was_asked_for(person: Person, cluster: Cluster, tiny: Path, mode: str):
    """libpq's own default is ``prefer``."""
    person.environment["PGPASSWORD"] = cluster.password
    person.moves(tiny, f"{cluster.url(mode)}&sslmode={mode}")


@pytest.mark.parametrize(
    ("option", "environment", "named"),
    [
        ("sslmode=strict", {}, "sslmode"),
        ("sslmode=require&sslrootcert=system", {}, "sslmode"),
        ("ssl_min_protocol_version=TLSv9", {}, "ssl_min_protocol_version"),
        ("sslfoo=bar", {}, "sslfoo"),
        ("", {"PGSSLMODE": "strict"}, "sslmode"),
        ("keepalives=sometimes", {}, "keepalives"),
    ],
)
def test_an_option_that_libpq_does_not_know(
    person: Person, cluster: Cluster, tiny: Path, option: str, environment: dict[str, str], named: str
):
    """It is the command line or the environment that is wrong, not the server."""
    run = person.types("start", tiny, f"{cluster.url('wrong')}&{option}", "--once", **environment)
    sentence, _ = refused(run, "CF101", 1)

    assert sentence.endswith(f": {named}")
