"""``crossfade schema``: the version that a database has, and the DDL for a DBA who does not let tools create things."""

from __future__ import annotations

from crossfade.console.finding import opened
from crossfade.console.talk import show, show_json
from crossfade.migrate.report import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.store.backends.postgres import schema
from crossfade.store.location import check_name, parse


def print_sql(name: str, layout: str, role: str) -> int:
    """Everything that crossfade would create, then what *role* needs."""
    check_name("schema", name)
    show(schema.ddl(name, layouts.load(layout or "prodigy")))
    if role:
        grantee, quoted = schema.quoted(role), schema.quoted(name)
        show(
            f"-- What the role needs; owning the schema lets it build indexes and add kinds.\nGRANT USAGE, CREATE ON SCHEMA {quoted} TO {grantee};"
        )
        show(f"DO $$ DECLARE t record; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = '{name}' LOOP")
        show(f"  EXECUTE format('ALTER TABLE {quoted}.%I OWNER TO {grantee}', t.tablename); END LOOP; END $$;")
    return 0


def print_version(store: str, *, as_json: bool) -> int:
    """The schema version of a database, and the trees in it."""
    place = parse(store)
    with opened(place) as ledger:
        version, stores = ledger.version(), ledger.stores()
    if as_json:
        trees = [{"name": row.name, "origin": row.origin} for row in stores]
        show_json({"schema_version": SCHEMA_VERSION, "database_schema_version": version, "stores": trees})
    else:
        show(f"{place}: schema {place.schema}, version {version} of {schema.VERSION}")
        for row in stores:
            show(f"  {row.name}   from {row.origin}")
    return 0
