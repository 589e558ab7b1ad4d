"""The tables, and how they grow: versioned, forward only; one table a kind, made from the layout."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any

from psycopg import sql

from crossfade.errors import LayoutInvalid, TargetUnfit
from crossfade.model import layouts
from crossfade.model.kinds import Kind
from crossfade.model.layouts import Layout
from crossfade.store.backends.postgres import functions, names, rules
from crossfade.store.backends.postgres.server import Connection

VERSION = 1

quoted = names.quoted

TYPES = {"text": "text", "bigint": "bigint", "boolean": "boolean", "timestamp": "timestamptz"}


def version_text(number: int) -> str:
    """The DDL that leads from the version before to *number*."""
    folder = resources.files("crossfade.store.backends.postgres") / "versions"
    return (folder / f"{number:04}.sql").read_text()


def ddl(schema: str, layout: Layout) -> str:
    """Everything that crossfade would create for trees of *layout*, as one script for a DBA."""
    name = quoted(schema)
    parts = [f"CREATE SCHEMA IF NOT EXISTS {name};\nREVOKE ALL ON SCHEMA {name} FROM PUBLIC;\n"]
    parts += [version_text(number).replace("{schema}", name) for number in range(1, VERSION + 1)]
    parts += functions.common(name)
    parts.append(f"INSERT INTO {name}.schema_versions (version, applied_by) VALUES ({VERSION}, 'a DBA');\n")
    for kind in layout.kinds:
        parts += [statement + ";\n" for statement in kind_statements(schema, kind)]
        parts += [functions.of_kind(name, kind.name), _kind_row_text(name, kind)]
    return "\n".join([*parts, layout_script(schema, layout)])


def layout_script(schema: str, layout: Layout) -> str:
    """What makes *layout* known to the functions of the schema, whose tables for its kinds are there. Safe to repeat."""
    name = quoted(schema)
    made = [functions.of_layout(name, kind, layout.fingerprint) for kind in layout.kinds]
    return "\n".join([*made, *(f"{statement};" for statement in rules.insertions(name, layout)), ""])


def _kind_row_text(name: str, kind: Kind) -> str:
    columns, indexes = (json.dumps(value).replace("'", "''") for value in described(kind))
    return f"INSERT INTO {name}.kinds (name, columns, indexes) VALUES ('{kind.name}', '{columns}', '{indexes}');\n"


def described(kind: Kind) -> tuple[dict[str, str], list[list[str]]]:
    """What ``kinds`` keeps of a kind: column types and indexes."""
    return {column.name: column.type for column in kind.columns}, [list(index) for index in kind.indexes]


def kind_statements(schema: str, kind: Kind) -> list[str]:
    """The DDL of a kind's table, without its indexes."""
    table = f"{quoted(schema)}.{quoted(kind.name)}"
    columns = "".join(f"    {quoted(column.name)} {TYPES[column.type]},\n" for column in kind.columns)
    create = (
        f"CREATE TABLE {table} (\n"
        "    store_id integer NOT NULL,\n    entry_id bigint NOT NULL,\n    pos bigint NOT NULL,\n"
        f"{columns}"
        "    reason text,\n    body json,\n    raw bytea,\n"
        "    CONSTRAINT one_content CHECK (num_nonnulls(body, raw) = 1 OR reason = 'long')\n)"
    )
    comment = "COMMENT ON TABLE {} IS '{}'".format(table, (kind.describes or kind.name).replace("'", "''"))
    return [create, comment]


def index_statements(schema: str, kind: Kind) -> list[str]:
    """The primary key and secondary indexes of a kind's table, each safe to repeat."""
    table = f"{quoted(schema)}.{quoted(kind.name)}"
    key = f"CREATE UNIQUE INDEX IF NOT EXISTS {quoted(kind.name + '_by_place')} ON {table} (store_id, entry_id, pos)"
    return [key] + [
        f"CREATE INDEX IF NOT EXISTS {quoted(_index_name(kind, index))} ON {table} ({', '.join(map(quoted, index))})"
        for index in kind.indexes
    ]


def _index_name(kind: Kind, index: tuple[str, ...]) -> str:
    """Short enough for a server, and not another's: what is cut off is told by a hash."""
    name = "_".join((kind.name, "by", *index))
    return name if len(name) <= 60 else f"{name[:47]}_{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def present_version(connection: Connection, schema: str) -> int | None:
    """The version of the schema that is there; None for none. Raises TargetUnfit for a newer one."""
    found = connection.execute("SELECT to_regclass(%s)", [f"{quoted(schema)}.schema_versions"]).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(
        sql.SQL("SELECT max(version) FROM {}.schema_versions").format(sql.Identifier(schema))
    ).fetchone()
    version = int(str(row[0])) if row and row[0] is not None else 0
    if version > VERSION:
        raise TargetUnfit(
            f"schema {schema!r} has version {version}; this release knows {VERSION}", hint="upgrade crossfade on this host"
        )
    return version


def ensure(connection: Connection, schema: str) -> None:
    """Bring the schema to this release's version, inside the caller's transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade'), hashtext(%s))", [schema])
    version = present_version(connection, schema)
    if version is None:
        _create_schema(connection, schema)
        version = 0
    for number in range(version + 1, VERSION + 1):
        connection.execute(version_text(number).replace("{schema}", quoted(schema)).encode())
        connection.execute(
            sql.SQL("INSERT INTO {}.schema_versions (version, applied_by) VALUES (%s, current_user)").format(
                sql.Identifier(schema)
            ),
            [number],
        )
    if version < VERSION:
        _make_functions(connection, schema)


def _make_functions(connection: Connection, schema: str) -> None:
    """Those of this release, in place of an earlier one's: the same for every tree, and of each kind and layout that is there."""
    name = quoted(schema)
    kinds = connection.execute(f"SELECT name FROM {name}.kinds".encode()).fetchall()
    known = connection.execute(f"SELECT layout, name FROM {name}.layouts".encode()).fetchall()
    scripts = [*functions.common(name), *(functions.of_kind(name, str(kind)) for (kind,) in kinds)]
    scripts += [layout_script(schema, layouts.parse(str(text), source=str(source))) for text, source in known]
    for script in scripts:
        connection.execute(script.encode())


def _create_schema(connection: Connection, schema: str) -> None:
    """Make the schema, for its owner only. A role without CREATE on the database may be given an empty one."""
    found = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone()
    if found is None:
        name = sql.Identifier(schema)
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(name))


def ensure_layout(connection: Connection, schema: str, layout: Layout) -> None:
    """Make *layout* known to the functions of the schema, inside the caller's transaction."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade'), hashtext(%s))", [schema])
    query = sql.SQL("SELECT 1 FROM {}.layouts WHERE fingerprint = %s").format(sql.Identifier(schema))
    if connection.execute(query, [layout.fingerprint]).fetchone() is None:
        connection.execute(layout_script(schema, layout).encode())


def ensure_kinds(connection: Connection, schema: str, kinds: tuple[Kind, ...]) -> None:
    """Make the tables of *kinds*, or add the columns that a table of the same name does not have yet."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade'), hashtext(%s))", [schema])
    rows = connection.execute(
        sql.SQL("SELECT name, columns, indexes FROM {}.kinds").format(sql.Identifier(schema))
    ).fetchall()
    present: dict[str, tuple[Any, Any]] = {str(name): (columns, indexes) for name, columns, indexes in rows}
    for kind in kinds:
        if kind.name in present:
            _widen(connection, schema, kind, *present[kind.name])
        else:
            _create_kind(connection, schema, kind)


def _create_kind(connection: Connection, schema: str, kind: Kind) -> None:
    for statement in (*kind_statements(schema, kind), functions.of_kind(quoted(schema), kind.name)):
        connection.execute(statement.encode())
    columns, indexes = described(kind)
    connection.execute(
        sql.SQL("INSERT INTO {}.kinds (name, columns, indexes) VALUES (%s, %s, %s)").format(sql.Identifier(schema)),
        [kind.name, json.dumps(columns), json.dumps(indexes)],
    )


def _widen(connection: Connection, schema: str, kind: Kind, columns: dict[str, str], indexes: list[list[str]]) -> None:
    wanted, wanted_indexes = described(kind)
    for name, type_ in wanted.items():
        if columns.get(name, type_) != type_:
            raise LayoutInvalid(
                f"kind {kind.name!r}: column {name!r} is {type_} here and {columns[name]} in the database",
                hint="rename the column or the kind, or use another schema: ?schema=NAME",
            )
        if name not in columns:
            connection.execute(
                f"ALTER TABLE {quoted(schema)}.{quoted(kind.name)} ADD COLUMN {quoted(name)} {TYPES[type_]}".encode()
            )
    merged = columns | wanted
    more = [index for index in wanted_indexes if index not in indexes]
    if merged != columns or more:
        connection.execute(
            sql.SQL("UPDATE {}.kinds SET columns = %s, indexes = %s, indexed = indexed AND %s WHERE name = %s").format(
                sql.Identifier(schema)
            ),
            [json.dumps(merged), json.dumps(indexes + more), not more, kind.name],
        )
