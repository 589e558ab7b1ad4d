#!/usr/bin/env python3
"""Check a migration certificate against a tree of files, or against a database dump. It imports nothing of crossfade.

    verify_certificate.py CERTIFICATE (TREE | DUMP.sql)

Of a tree every path counts that the certificate's rules leave in, with its bytes, mode and time. A dump is what ``pg_dump``
writes as plain text; each digest is computed from the records in it. docs/reference/certificate.md is the specification.

Exit 0: it is true. 3: it differs; the first path that does is named, or the two between which it lies. 2: nothing can be
said: an edited certificate, another format, a dump that was cut off, something that cannot be read.
Memory holds the names of the directories on the way down and one record; what a dump needs sorted is sorted on disk.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import sqlite3
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_REST = {"fate": "keep", "kind": "other", "form": "blob"}
_UNFIT = (sqlite3.Error, re.error, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
"""What comes of a certificate, tree or dump that is not what it should be."""

COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18")


class Unusable(Exception):
    """Nothing can be said; the message tells why."""


class Entry(NamedTuple):
    """One path with everything that counts; ``digest`` is empty for what is no file. ``wrong`` says what is wrong in itself."""

    path: bytes
    type: str
    mode: int
    mtime_ns: int
    link: bytes
    digest: bytes
    wrong: str = ""


def load(path: str) -> dict[str, Any]:
    """The certificate in a file. Raises Unusable for anything else, and for one that was edited."""
    try:
        with open(path, "rb") as file:
            value = json.load(file)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"{path} is no certificate that can be read: {error}") from None
    if not isinstance(value, dict) or value.get("format") != "crossfade certificate":
        raise Unusable(f"{path} is no crossfade certificate")
    if value.get("format_version") != 1:
        raise Unusable(f"{path} has format version {value.get('format_version')}; this program knows 1")
    rest = json.dumps({key: part for key, part in value.items() if key != "digest"}, sort_keys=True, separators=(",", ":"))
    if hashlib.sha256(rest.encode()).hexdigest() != value.get("digest"):
        raise Unusable(f"{path} was edited: its digest is not that of its content")
    roots = value["roots"]
    sizes = [value[name] for name in ("segment_bytes", "record_bytes_max")]
    is_sized = all(isinstance(size, int) and size > 0 for size in sizes)
    if not is_sized or not are_points(value["waypoints"]) or not {"entries", "made_at"} <= value.keys():
        raise Unusable(f"{path} is not what a certificate should be")
    if value["verdict"] not in ("equal", "quarantined", "unreadable") or roots["source"] != roots["target"]:
        raise Unusable(f"{path} certifies nothing: its verdict is '{value['verdict']}'")
    return value


def are_points(found: Any) -> bool:
    """True for places on the way: each a number, a path and the beginning of a root."""
    shapes = ([type(part) for part in point] for point in found)
    return isinstance(found, list) and all(shape == [int, str, str] for shape in shapes)


def from_text(text: str) -> bytes:
    """The path behind its readable form."""
    hidden = re.compile(rb"\\(x[0-9a-f]{2}|\\)")
    return hidden.sub(lambda m: m[1] if m[1] == b"\\" else bytes.fromhex(m[1][1:].decode()), text.encode())


class LeftOut:
    """Paths that were not compared: whole entries in quarantine, and what could not be read, with all that is below."""

    def __init__(self, certificate: dict[str, Any]) -> None:
        self._held = {from_text(item["path"]) for item in certificate["quarantine"] if item["pos"] is None}
        self._unread = {from_text(item["path"]) for item in certificate["unreadable"]}

    def __contains__(self, path: bytes) -> bool:
        if path in self._held or path in self._unread:
            return True
        return bool(self._unread) and any(path[:end] in self._unread for end, byte in enumerate(path) if byte == 0x2F)


def printable(path: bytes) -> str:
    """A path for people."""
    return path.decode("utf-8", "backslashreplace") or "(the root)"


class Comparison:
    """Folds entries into a root, and notes where the way parts from the certificate's."""

    def __init__(self, certificate: dict[str, Any]) -> None:
        self._wanted, self._count = certificate["roots"]["target"], certificate["entries"]
        self._points = [(number, from_text(text), root) for number, text, root in certificate["waypoints"]]
        self._all = len(self._points) == self._count
        self._root, self._number, self._passed = b"\0" * 32, 0, b""

    def compare(self, entries: Iterable[Entry]) -> str:
        """What differs first; empty where nothing does."""
        for entry in entries:
            if first := self._add(entry):
                return first
        if (self._root.hex(), self._number) == (self._wanted, self._count):
            return ""
        return self._missing(self._points[0][1]) if self._points else f"a path behind {printable(self._passed)}"

    def _add(self, entry: Entry) -> str:
        text = b"%b\0%b\0%o\0%d\0%b\0" % (entry.path, entry.type.encode(), entry.mode, entry.mtime_ns, entry.link)
        self._root = hashlib.sha256(self._root + hashlib.sha256(text + entry.digest).digest()).digest()
        self._number += 1
        if entry.wrong:
            return f"{printable(entry.path)}: {entry.wrong}"
        if self._number > self._count:
            return f"{printable(entry.path)} is not in the certificate"
        return self._meet(entry.path) if self._points and self._number == self._points[0][0] else ""

    def _meet(self, path: bytes) -> str:
        """A place that the certificate remembers: what differs, if the way did not come along here."""
        _, wanted, root = self._points[0]
        if path == wanted and self._root[:8].hex() == root:
            self._passed = path
            self._points.pop(0)
            return ""
        if self._all and path == wanted:
            return f"{printable(path)}: its content, mode, time or link text"
        if self._all and path.replace(b"/", b"\0") < wanted.replace(b"/", b"\0"):
            return f"{printable(path)} is not in the certificate"
        return self._missing(wanted)

    def _missing(self, path: bytes) -> str:
        if self._all:
            return f"{printable(path)} is missing"
        return f"a path behind {printable(self._passed)}, about as far as {printable(path)}"


def digest_of(records: Iterable[tuple[int, bytes]], segment: int) -> bytes:
    """The digest of a file: over those of its segments. In one are the records, and pieces of long ones, that start there."""
    whole, part, number = hashlib.sha256(), hashlib.sha256(), -1
    for offset, data in records:
        if offset // segment != number:
            whole.update(part.digest() if number >= 0 else b"")
            number, part = offset // segment, hashlib.sha256()
        part.update(data)
    whole.update(part.digest() if number >= 0 else b"")
    return whole.digest()


def rules_of(certificate: dict[str, Any]) -> list[dict[str, Any]]:
    """The layout's rules: which paths each takes, which directories with all that is below them, and which of these not."""
    names = ("files", "trees", "unless")
    return [
        rule | {name: rule[name] and re.compile(rule[name].encode(), re.DOTALL).fullmatch for name in names}
        for rule in certificate["layout"]["rules"]
    ]


class Tree:
    """The moved set of a directory, in the order of its keys."""

    def __init__(self, root: bytes, certificate: dict[str, Any]) -> None:
        self._root = root
        self._rules = rules_of(certificate)
        moved = certificate["moved"]
        self._fates = ("keep", "transient") if moved["include_transient"] else ("keep",)
        self._kinds, self._left_out = moved["kinds"], LeftOut(certificate)
        self._segment, self._longest = certificate["segment_bytes"], certificate["record_bytes_max"]

    def entries(self) -> Iterator[Entry]:
        """Every entry; directories before what is in them."""
        status = os.stat(self._root)
        yield Entry(b"", "dir", stat.S_IMODE(status.st_mode), status.st_mtime_ns, b"", b"")
        waiting = [self._names(b"")]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                continue
            if (path := waiting[-1].pop()) in self._left_out:
                continue
            status = os.lstat(os.path.join(self._root, path))
            fate = self._fate(path) if stat.S_ISDIR(status.st_mode) else ""
            yield from self._entry(path, status, fate)
            if fate in self._fates:
                waiting.append(self._names(path))

    def _names(self, path: bytes) -> list[bytes]:
        """What is in a directory, last first; without the one where crossfade stages what it restores."""
        folder = os.path.join(self._root, path)
        names = sorted(os.listdir(folder), reverse=True)
        ours = os.path.join(folder, b".crossfade")
        if not path and os.path.isdir(ours) and all(re.fullmatch(rb"[0-9a-f]{40}", name) for name in os.listdir(ours)):
            names.remove(b".crossfade")
        return [path + b"/" + name if path else name for name in names]

    def _entry(self, path: bytes, status: os.stat_result, fate: str) -> Iterator[Entry]:
        mode, time = stat.S_IMODE(status.st_mode), status.st_mtime_ns
        if stat.S_ISDIR(status.st_mode):
            yield from [Entry(path, "dir", mode, time, b"", b"")] if fate in self._fates else ()
            return
        rule = next((rule for rule in self._rules if rule["files"](path)), _REST)
        if rule["fate"] in self._fates and stat.S_ISLNK(status.st_mode):
            yield Entry(path, "link", 0, time, os.readlink(os.path.join(self._root, path)), b"")
        is_moved = self._kinds is None or (rule["kind"] or "other") in self._kinds
        if rule["fate"] in self._fates and stat.S_ISREG(status.st_mode) and is_moved:
            yield Entry(path, "file", mode, time, b"", self._digest(path, rule["form"]))

    def _fate(self, directory: bytes) -> str:
        """What becomes of a directory, and of everything below it where it is not kept."""
        rule = next((rule for rule in self._rules if rule["trees"] and rule["trees"](directory)), _REST)
        return "keep" if rule is _REST or rule["unless"](directory) else str(rule["fate"])

    def _digest(self, path: bytes, form: str) -> bytes:
        with open(os.path.join(self._root, path), "rb") as file:
            is_log = form == "log" and not file.peek(4).startswith(COMPRESSED)
            return digest_of(self._lines(file) if is_log else self._whole(file), self._segment)

    def _whole(self, file: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
        """One record; or pieces, where that would be too long."""
        size = self._longest if os.fstat(file.fileno()).st_size <= self._longest else self._segment
        offset = 0
        while data := file.read(size):
            yield offset, data
            offset += len(data)

    def _lines(self, file: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
        """A record a line, its ending included; pieces of one that is too long."""
        offset = 0
        while line := file.readline(self._longest):
            if line.endswith(b"\n") or len(line) < self._longest or not file.peek(1):
                yield offset, line
                offset += len(line)
                continue
            while line:
                piece, line = line[: self._segment], line[self._segment :]
                yield offset, piece
                offset += len(piece)
                if not line and not piece.endswith(b"\n"):
                    line = file.readline(self._segment)


class Dump:
    """A tree in a plain dump. Its rows are read twice: once to note where each stands, once in the order of the tree."""

    def __init__(self, path: str, certificate: dict[str, Any], folder: str) -> None:
        self._certificate = certificate
        self._name = path
        self._file = open(path, "rb")  # noqa: SIM115 - it is open as long as this lives
        self._schemas = [certificate[side]["schema"] for side in ("target", "source") if certificate[side]["schema"]]
        self._tables: list[tuple[str, list[str]]] = []
        self._stores: dict[tuple[str, str], int] = {}
        self._end, self._wrong = 0, ""
        self._base = sqlite3.connect(os.path.join(folder, "rows"))
        self._base.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768;"
            "CREATE TABLE entry (id INTEGER, store INTEGER, key BLOB, type, kind, mode, mtime, link BLOB, size, digest BLOB);"
            "CREATE TABLE row (store INTEGER, entry INTEGER, pos INTEGER, source INTEGER, at INTEGER);"
        )

    def entries(self) -> Iterator[Entry]:
        """Every entry of the certificate's store, its content computed from its records."""
        self._scan()
        store = self._store()
        self._base.execute("CREATE INDEX by_place ON row (store, entry, pos)")
        self._base.execute("CREATE INDEX by_key ON entry (store, key)")
        self._base.execute("CREATE INDEX by_id ON entry (store, id)")  # or each row would be looked for among all entries
        kinds, skipped = self._certificate["moved"]["kinds"], LeftOut(self._certificate)
        query = "SELECT id, key, type, kind, mode, mtime, link, size, digest FROM entry WHERE store = ? ORDER BY key"
        for number, key, type_, kind, mode, mtime, link, size, digest in self._base.execute(query, (store,)):
            path, is_file = key.replace(b"\0", b"/"), type_ == "file"
            if type_ == "gone" or path in skipped or (is_file and kinds is not None and kind not in kinds):
                continue
            found, wrong = b"", ""
            if is_file:
                found = digest_of(self._records(store, number, kind), self._certificate["segment_bytes"])
                wrong = self._wrong or ("" if self._end == size else f"its records end at {self._end}, not at {size}")
                wrong = wrong or (
                    "" if found == digest else "its records do not have the digest that the database has for them"
                )
            yield Entry(path, type_, 0 if type_ == "link" else mode, mtime, link, found, wrong)
        yield from self._strays(store)

    def _store(self) -> int:
        """The number of the certificate's store: in the target's schema, or else in the source's."""
        wanted = self._certificate["store"]
        for schema in self._schemas:
            if (schema, wanted) in self._stores:
                return self._stores[schema, wanted]
        names = ", ".join(sorted({name for _, name in self._stores})) or "none"
        raise Unusable(f"{self._name} holds no store '{wanted}' of crossfade's, but: {names}")

    def _numbered(self, schema: str, store: int) -> int:
        """One number for a store in one of the two schemas, which count from 1 each."""
        return 2 * store + self._schemas.index(schema)

    def _strays(self, store: int) -> Iterator[Entry]:
        """Records that belong to no file of the tree."""
        query = (
            "SELECT DISTINCT row.source, row.entry, entry.kind FROM row LEFT JOIN entry ON entry.id = row.entry"
            " AND entry.store = row.store AND entry.type = 'file' WHERE row.store = ?"
        )
        for source, number, kind in self._base.execute(query, (store,)):
            table = self._tables[source][0]
            if kind is None or table not in (kind, "chunks"):
                yield Entry(b"", "dir", 0, 0, b"", b"", f"records in {table} belong to no file (entry {number})")

    def _records(self, store: int, number: int, kind: str) -> Iterator[tuple[int, bytes]]:
        """The records and pieces of a file; ``_end`` is where the last one ended, ``_wrong`` what is wrong with them."""
        self._end, self._wrong = 0, ""
        query = "SELECT pos, source, at FROM row WHERE store = ? AND entry = ? ORDER BY pos"
        for pos, source, at in self._base.execute(query, (store, number)):
            table, columns = self._tables[source]
            data = self._data(at, columns) if table in (kind, "chunks") else None
            if data is not None:
                if pos != self._end:
                    self._wrong = f"a record is missing, or stands twice, at offset {min(pos, self._end)}"
                self._end = pos + len(data)
                yield pos, data

    def _data(self, at: int, columns: list[str]) -> bytes | None:
        self._file.seek(at)
        fields = dict(zip(columns, self._file.readline()[:-1].split(b"\t"), strict=True))
        if fields.get("body", NULL) != NULL:
            return unescaped(fields["body"])
        value = fields["data"] if "data" in fields else fields["raw"]
        return None if value == NULL else bytes.fromhex(unescaped(value)[2:].decode())

    def _scan(self) -> None:
        """Note where every row stands."""
        at, complete, head = 0, False, self._file.read(5)
        if head == b"PGDMP" or head.startswith(b"\x1f\x8b"):
            raise Unusable(f"{self._name} is not plain text: pg_dump --format=plain, not compressed")
        self._file.seek(0)
        for line in iter(self._file.readline, b""):
            at += len(line)
            if line.startswith(b"COPY ") and (found := _COPY(line)):
                at = self._block(found[1].decode(), found[2].decode(), found[3].decode(), at)
            elif line.startswith(b"SET client_encoding") and b"UTF8" not in line:
                raise Unusable(f"{self._name} is not in UTF-8: pg_dump --encoding=UTF8")
            complete = complete or DUMPED in line
        if not complete:
            raise Unusable(f"{self._name} was cut off: it does not end as a dump does")

    def _block(self, schema: str, table: str, names: str, at: int) -> int:
        """The rows of one table; where they end."""
        columns, number = [column.strip('"') for column in names.split(", ")], len(self._tables)
        self._tables.append((table.strip('"'), columns))
        schema = schema.strip('"').replace('""', '"')
        is_ours = schema in self._schemas
        is_rows = is_ours and columns[:3] == ["store_id", "entry_id", "pos"] and ("body" in columns or "data" in columns)
        rows: list[tuple[int, ...]] = []
        for line in iter(self._file.readline, b""):
            if is_rows and line != ENDED:
                store, entry, pos, _ = line.split(b"\t", 3)
                rows.append((self._numbered(schema, int(store)), int(entry), int(pos), number, at))
            elif is_ours and table in ("entries", "stores") and line != ENDED:
                self._note(schema, table, dict(zip(columns, map(unescaped, line[:-1].split(b"\t")), strict=True)))
            at += len(line)
            if line == ENDED or len(rows) >= 10_000:
                self._base.executemany("INSERT INTO row VALUES (?, ?, ?, ?, ?)", rows)
                rows.clear()
            if line == ENDED:
                return at
        raise Unusable(f"{self._name} was cut off in the rows of {table}")

    def _note(self, schema: str, table: str, fields: dict[str, bytes]) -> None:
        if table == "stores":
            self._stores[schema, fields["name"].decode()] = self._numbered(schema, int(fields["store_id"]))
            return
        numbers = [int(fields[name]) for name in ("entry_id", "store_id", "mode", "mtime_ns", "size")]
        key, link, digest = (bytes.fromhex(fields[name][2:].decode()) for name in ("key", "link", "digest"))
        words = fields["type"].decode(), fields["kind"].decode()
        row = (numbers[0], self._numbered(schema, numbers[1]), key, *words, *numbers[2:4], link, numbers[4], digest)
        self._base.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


DUMPED, ENDED, NULL = b"PostgreSQL database dump complete", b"\\.\n", rb"\N"
_COPY = re.compile(rb"COPY (.+?)\.(.+?) \((.*)\) FROM stdin;\n").fullmatch
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_MEANT = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v", b"N": rb"\x"}


def unescaped(field: bytes) -> bytes:
    """A field of a COPY block as it was; a NULL reads as no bytes in hex."""
    return _ESCAPED.sub(lambda match: _MEANT.get(match[1], match[1]), field) if b"\\" in field else field


def check(file: str, subject: str) -> tuple[str, dict[str, Any]]:
    """What differs first, empty where nothing does; and the certificate. Raises Unusable."""
    try:
        certificate = load(file)
        if os.path.isdir(subject):
            return Comparison(certificate).compare(Tree(os.fsencode(subject), certificate).entries()), certificate
        with tempfile.TemporaryDirectory(prefix="verify-certificate-") as folder:
            return Comparison(certificate).compare(Dump(subject, certificate, folder).entries()), certificate
    except OSError as error:
        raise Unusable(f"cannot read {os.fsdecode(error.filename or subject)}: {error.strerror}") from None
    except _UNFIT as error:  # which may quote a record
        raise Unusable(f"{subject} is not what it should be, or the certificate is not ({type(error).__name__})") from None


def main() -> int:
    """Check, say what came of it, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("certificate")
    parser.add_argument("subject", metavar="TREE|DUMP.sql")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a certificate may hold what no terminal shows
    try:
        first, found = check(options.certificate, options.subject)
    except Unusable as error:
        print(f"not usable: {error}", file=sys.stderr)
        return 2
    equal = f"equal: {found['entries']} entries, root {found['roots']['target']}, as of {found['made_at']}"
    print(f"differs: {first}" if first else equal)
    return 3 if first else 0


if __name__ == "__main__":
    sys.exit(main())
