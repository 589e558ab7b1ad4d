"""Stores are URLs: what they mean, and that no password ever shows."""

from __future__ import annotations

import os
import pickle
import traceback

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.errors import CrossfadeError, LocationInvalid
from crossfade.store.backends.postgres.server import Server
from crossfade.store.location import conninfo, entangled, parse

PASSWORD = "s3cr3t/word"
WITH_PASSWORD = [
    "postgresql://me:s3cr3t%2Fword@host/db",
    "postgres://me:s3cr3t%2Fword@host:5433/db?schema=mine&store=one",
    "postgresql://me@host/db?password=s3cr3t%2Fword",
    "postgresql:///db?host=/run/pg&user=me&password=s3cr3t/word&sslmode=require",
    "postgresql://:s3cr3t%2Fword@host/db",
    "postgresql://me:s3cr3t%2Fword@[::1]:5432/db",
    "postgresql://me:s3cr3t%2Fword@one:1,two:2/db",
]


@pytest.mark.parametrize("text", WITH_PASSWORD)
def test_a_password_shows_in_no_rendering(text):
    """Not in the URL that a registry keeps, not in a log line, not in what is handed to a child process as an argument."""
    location = parse(text)
    shown = [str(location), repr(location), location.url, conninfo(location), f"{location}", repr(location.named("x"))]
    shown += [repr(Server(conninfo(location), location.url, location.secret))]

    assert location.secret == PASSWORD
    assert [found for found in shown if "s3cr3t" in found] == []
    assert parse(location.url).secret == ""
    assert pickle.loads(pickle.dumps(location)) == location


@pytest.mark.parametrize(
    "text",
    [
        "jdbc:postgresql://host/db?user=me&password=s3cr3t",
        "postgresql:/me:s3cr3t@host/db",
        "postgresql:me:s3cr3t@host/db",
        "postgresql+psycopg://me:s3cr3t@host/db",
        "Cockroach-DB://me:s3cr3t@host/db",
        " postgresql://me:s3cr3t@host/db",
        "URL=postgresql://me:s3cr3t@host/db",
        "mysql:/me:s3cr3t@host/db",
    ],
)
def test_what_looks_like_a_url_is_never_a_path(text):
    """That would be shown, made, and written down, its password with it."""
    with pytest.raises(LocationInvalid) as caught:
        parse(text)

    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.hint


@pytest.mark.parametrize("text", WITH_PASSWORD)
def test_a_password_shows_in_no_error(text):
    """A typing mistake elsewhere in the URL must not print it."""
    for wrong in (
        text.replace("/db", "/db?schema=NOT%20a%20name&x=1") if "?" not in text else text + "&schema=Bad",
        "x" + text,
    ):
        with pytest.raises(LocationInvalid) as caught:
            parse(wrong)

        assert "s3cr3t" not in "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caught.value.hint


def test_a_password_shows_in_no_refused_connection(short_dir):
    """Nor in the chain of causes behind the error."""
    location = parse(f"postgresql://me:hunter2@/db?host={short_dir}")
    with pytest.raises(CrossfadeError) as caught:
        Server(conninfo(location), location.url, location.secret).connect("test")

    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("text", "url", "schema", "store"),
    [
        ("postgres://h/db", "postgresql://h/db", "crossfade", ""),
        ("postgresql://me@h:1/db?schema=crossfade", "postgresql://me@h:1/db", "crossfade", ""),
        ("Postgresql://h/db?schema=mine", "postgresql://h/db?schema=mine", "mine", ""),
        ("POSTGRES://me@h/db", "postgresql://me@h/db", "crossfade", ""),
        ("postgresql://h/db?schema=mine", "postgresql://h/db?schema=mine", "mine", ""),
        ("postgresql://h/db?store=one&schema=mine", "postgresql://h/db?schema=mine&store=one", "mine", "one"),
        ("postgresql:///db?host=/run/pg&store=a", "postgresql:///db?host=/run/pg&store=a", "crossfade", "a"),
        ("postgresql:///?service=prod", "postgresql:///?service=prod", "crossfade", ""),
        ("postgresql://", "postgresql://", "crossfade", ""),
        ("embedded:///var/lib/x", "embedded:///var/lib/x", "crossfade", ""),
        ("Embedded:///var/lib/x%23y%3Fz", "embedded:///var/lib/x%23y%3Fz", "crossfade", ""),
        ("embedded:///var/lib/../x?schema=s&store=t", "embedded:///var/x?schema=s&store=t", "s", "t"),
    ],
)
def test_a_database_has_a_schema_and_trees_in_it(text, url, schema, store):
    """Our own options are ours, all others are libpq's; the URL that is kept means the same."""
    location = parse(text)

    assert (location.url, location.schema, location.store, location.is_database) == (url, schema, store, True)
    assert parse(location.url) == location


@pytest.mark.parametrize(
    "text", ["postgresql:///db?host=/run/pg", "postgresql://me@h:5433/db?sslmode=require&schema=x", "postgres://h"]
)
def test_what_libpq_is_given_is_what_libpq_understands(text):
    """Without our options, and with the slashes that it insists on."""
    found = psycopg.conninfo.conninfo_to_dict(conninfo(parse(text)))

    assert "schema" not in found
    assert found.get("host") in ("/run/pg", "h")


@pytest.mark.parametrize(
    "text",
    ["", "a\0b", "mysql://h/db", "s3://bucket", "file://host/path", "embedded://relative", "embedded:///x?sslmode=off",
     "postgresql://h/db?schema=Upper", "postgresql://h/db?schema=a-b", "postgresql://h/db?schema=pg_x", "postgresql://h/db?schema=",
     "postgresql://h/db?store=%22;--", "postgresql://h/db?schema=" + "x" * 41,
     "file:///data/a#b", "file:///data/a?", "file:///data/a?b", "file:/data", "file:///a\nb", "embedded:///x#y", "embedded:///x?schema=s#y",
     "file:///a%00b", "embedded:///a%00b"],
)  # fmt: skip
def test_what_names_no_store_is_refused_with_a_hint(text):
    """A schema's name goes into SQL, quoted, and is plain all the same."""
    with pytest.raises(LocationInvalid) as caught:
        parse(text)

    assert caught.value.hint


@given(st.binary(min_size=1, max_size=30).map(lambda path: b"/tmp/" + path.replace(b"\0", b"x").replace(b"/", b"y")))
def test_any_directory_can_be_named(path):
    """Also one whose name is not UTF-8: as a plain path, and as the URL that is kept."""
    location = parse(os.fsdecode(path))

    assert location.path == os.path.abspath(path)
    assert parse(location.url) == location
    assert location.url.isascii()


@pytest.mark.parametrize(
    "text",
    ["./x", "x", "x:y", "x/y:z", "file:///tmp/x", "File:///tmp/x", "file://localhost/tmp/x", "C:/x", "postgresql", "a b",
     "./postgresql://me:pw@host/db", "/tmp/jdbc:x://y", "x/http://y",
     "./service=web", "x/host=a", "dir=ectory", "/tmp/user=alice"],
)  # fmt: skip
def test_what_is_no_url_is_a_path(text, monkeypatch):
    """Nobody should have to think about colons in file names."""
    monkeypatch.chdir("/tmp")

    assert (parse(text).scheme, parse(text).path.startswith(b"/tmp/")) == ("file", True)
    assert not parse(text).is_database


@pytest.mark.parametrize("text", ["service=web", "user=alice", "host=a", " password = x"])
def test_a_directory_that_is_called_like_a_connection_string_can_be_named(text):
    """It may hold a password, so that it is taken for no path; how to say that it is one stands in the hint."""
    with pytest.raises(LocationInvalid) as caught:
        parse(text)

    assert text not in str(caught.value)
    assert caught.value.hint == "postgresql://user@host/database; a path may begin with ./"
    assert parse(f"./{text}").path == os.path.abspath(os.fsencode(text))


def test_places_within_one_another_are_entangled_also_through_links(tmp_path):
    """A copy into its own source would copy itself, for ever."""
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source-2").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "source" / "inner")
    source = parse(str(tmp_path / "source"))
    inside = ["source", "source/inner", "source/not/there", "link", "link/below", "."]
    outside = ["source-2", "other", "sourc"]
    for name in inside:
        for other in (parse(f"{tmp_path}/{name}"), parse(f"embedded://{tmp_path}/{name}")):
            assert entangled(source, other), name
            assert entangled(other, source), name
    for name in outside:
        assert not entangled(source, parse(f"{tmp_path}/{name}")), name

    assert not entangled(source, parse("postgresql://h/db"))
    assert not entangled(source, parse("memory:x"))
