"""Stores are URLs. A location never shows a password, in any rendering.

    /path, ./path, file:///path       a directory
    postgresql://user@host/database   a schema in a database; also postgres://, and a libpq service by ?service=NAME
    embedded:///path                  a PostgreSQL that crossfade runs itself, in that directory
    memory:NAME                       this process's memory

``?schema=NAME`` chooses the schema of a database (default ``crossfade``), ``?store=NAME`` one of the trees in it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from crossfade.errors import LocationInvalid

Scheme = Literal["file", "postgresql", "embedded", "memory"]

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_CONNINFO = re.compile(r"\s*(?:host|hostaddr|port|dbname|user|password|passfile|service|sslmode)\s*=")
_LIKE_URL = re.compile(r"[^/]*:/(/|.*@)", re.DOTALL)
"""What has ``://`` in the place of a scheme, or with one slash somebody's name in it."""

_SECRETS = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""Options of libpq that are secrets, and that no environment variable can carry; a service file can."""

_ENCODED = "in a password, write %2F for a slash, %3F for ?, %5B and %5D for brackets; better, set PGPASSWORD"
_HINT = "name a directory, or a URL like postgresql://user@host/database or embedded:///var/lib/crossfade"
_PATH = "a path may begin with ./"


@dataclass(frozen=True)
class Location:
    """Where a store is. ``path`` is absolute bytes, for a directory; ``url`` is what a person may see and a registry keep.

    ``secret`` is a password that stood in the URL; it is used to connect and appears nowhere else.
    """

    scheme: Scheme
    url: str
    path: bytes = b""
    schema: str = "crossfade"
    store: str = ""
    secret: str = field(default="", repr=False)

    def __str__(self) -> str:
        return self.url

    @property
    def is_database(self) -> bool:
        """True for stores that keep control state beside the data."""
        return self.scheme in ("postgresql", "embedded")

    def named(self, store: str) -> Location:
        """The same place, with the tree *store* in it."""
        return replace(self, store=store)


def parse(text: str) -> Location:
    """The location that *text* names. Raises LocationInvalid, without quoting what could be a password."""
    if not text or "\0" in text:
        raise LocationInvalid("an empty text names no store", hint=_HINT)
    if _CONNINFO.match(text):
        raise LocationInvalid(
            "a connection string of libpq is no URL of a store", hint=f"postgresql://user@host/database; {_PATH}"
        )
    word, separator, rest = text.partition(":")
    scheme = word.lower()
    if separator and scheme == "memory":
        return Location("memory", f"memory:{rest}", os.fsencode(rest))
    if separator and scheme in _SCHEMES:
        return _url(scheme, rest)
    if _LIKE_URL.match(text):
        raise _no_store(scheme)
    return _file(os.fsencode(text))


def _no_store(scheme: str) -> LocationInvalid:
    """What looks like a URL may hold a password, and a path is shown and written down: it is taken for none."""
    named = f" of the scheme {scheme!r}" if re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) else " of such a URL"
    return LocationInvalid(f"there is no store{named}", hint=f"{_HINT}; {_PATH}")


def _url(scheme: str, rest: str) -> Location:
    if not rest.startswith("//"):
        raise LocationInvalid(f"a {scheme} URL begins with {scheme}://", hint=_HINT)
    try:
        return _SCHEMES[scheme](f"{scheme}:{rest}")
    except ValueError:  # what the standard library says of brackets, and of characters that only look like a slash
        raise LocationInvalid(f"a {scheme} URL with brackets or characters that it cannot have", hint=_ENCODED) from None


def _file_url(text: str) -> Location:
    return _file(_url_path(text, "?#"))


def _url_path(text: str, foreign: str) -> bytes:
    parts = urlsplit(text)
    if any(mark in text for mark in f"{foreign}\t\r\n"):  # the standard library drops them, and what is left is another path
        raise LocationInvalid(
            f"a {parts.scheme} URL has no {' or '.join(foreign)}, and no line ends",
            hint="in a path, write %23 for # and %3F for ?",
        )
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise LocationInvalid(
            f"a {parts.scheme} URL has three slashes and an absolute path", hint=f"{parts.scheme}:///absolute/path"
        )
    path = unquote(parts.path, errors="surrogateescape")
    if "\0" in path:
        raise LocationInvalid(f"a {parts.scheme} URL has no %00: no path has such a byte", hint=_HINT)
    return os.fsencode(path)


def _file(path: bytes) -> Location:
    absolute = os.path.abspath(path)
    return Location("file", "file://" + quote(absolute), absolute)


def _pairs(query: str) -> list[tuple[str, str]]:
    """A query as libpq reads it: a plus is a plus, and a space is %20."""
    return parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)


def _options(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Our own options of a database URL, checked; and the ones that are libpq's."""
    pairs = _pairs(urlsplit(text).query)
    ours = {name: value for name, value in pairs if name in ("schema", "store")}
    for name, value in ours.items():
        check_name(name, value)
    return ours, [pair for pair in pairs if pair[0] not in ours]


def check_name(what: str, value: str) -> str:
    """*value*, when it can name a schema or a store."""
    if not _NAME.fullmatch(value) or value.startswith("pg_"):
        raise LocationInvalid(
            f"{what} {value!r} is not a plain name", hint="use up to 40 lower-case letters, digits and underscores"
        )
    return value


def _embedded(text: str) -> Location:
    ours, foreign = _options(text)
    if foreign:
        raise LocationInvalid(f"embedded:// has no option {foreign[0][0]!r}", hint="embedded:///path?schema=NAME&store=NAME")
    path = os.path.abspath(_url_path(text, "#"))
    return Location("embedded", "embedded://" + quote(path) + _query(ours, []), path, **_defaults(ours))


def _postgresql(text: str) -> Location:
    text = text.replace("#", "%23")  # which libpq takes for what it is
    _refuse_loose_password(text)
    ours, foreign = _options(text)
    parts = urlsplit(text)
    user, _, host = parts.netloc.rpartition("@")
    name, _, secret = user.partition(":")
    secret = unquote(secret) or dict(foreign).get("password", "")
    foreign = [(key, value) for key, value in foreign if key != "password"]
    if unknown := [key for key, _ in foreign if key not in _known()]:
        raise LocationInvalid(
            f"libpq has no option of the name: {unknown[0]}", hint="docs/reference/stores.md names the usual ones"
        )
    if found := [key for key, _ in foreign if key in _SECRETS]:
        raise LocationInvalid(
            f"{found[0]} is a secret, and a URL is no place for it", hint="put it into a service file: ?service=NAME"
        )
    netloc = f"{name}@{host}" if name else host
    shown = f"postgresql://{netloc}{parts.path}{_query(ours, foreign)}"
    return Location("postgresql", shown, b"", **_defaults(ours), secret=secret)


@cache
def _known() -> frozenset[str]:
    """What this libpq takes in a URL; ``ssl`` is how others spell sslmode."""
    from psycopg.pq import Conninfo  # noqa: PLC0415 - the driver is a third of a start, and few commands name a server

    return frozenset(option.keyword.decode() for option in Conninfo.get_defaults()) | {"ssl"}


def _refuse_loose_password(text: str) -> None:
    """A slash or question mark in a password would make the rest of it a database's name, or an option, which are shown."""
    server, mark, rest = re.match(r"[^/]*//([^/?]*)([/?]?)(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    ports = [one.rpartition("]")[2].partition(":")[2] for one in server.rpartition("@")[2].split(",")]
    path, _, query = rest.partition("?") if mark == "/" else ("", "", rest)
    loose = "@" in path or any(port and not port.isdigit() for port in ports)
    if loose or any("=" not in pair for pair in query.split("&") if pair):
        raise LocationInvalid("a URL whose parts cannot be told from one another", hint=_ENCODED)


_SCHEMES = {"file": _file_url, "embedded": _embedded, "postgresql": _postgresql, "postgres": _postgresql}


def _defaults(ours: dict[str, str]) -> dict[str, str]:
    return {"schema": ours.get("schema", "crossfade"), "store": ours.get("store", "")}


def _query(ours: dict[str, str], foreign: list[tuple[str, str]]) -> str:
    kept = [(name, value) for name, value in sorted(ours.items()) if (name, value) != ("schema", "crossfade")]
    return "?" + urlencode(foreign + kept, safe="/", quote_via=quote) if foreign or kept else ""


def conninfo(location: Location) -> str:
    """What libpq needs to connect to a ``postgresql`` location, without its password."""
    parts = urlsplit(location.url)
    foreign = [pair for pair in _pairs(parts.query) if pair[0] not in ("schema", "store")]
    return f"postgresql://{parts.netloc}{parts.path}" + (
        "?" + urlencode(foreign, safe="/", quote_via=quote) if foreign else ""
    )


def entangled(one: Location, other: Location) -> bool:
    """True when one directory lies inside the other, seen through links."""
    if not one.path or not other.path or "memory" in (one.scheme, other.scheme):
        return False
    paths = [os.path.join(os.path.realpath(place.path), b"") for place in (one, other)]
    return paths[0].startswith(paths[1]) or paths[1].startswith(paths[0])
