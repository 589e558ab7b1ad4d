"""``crossfade schema``: the version that a database has, and the DDL for a DBA who does not let tools create things."""

from __future__ import annotations

from crossfade.console.finding import opened
from crossfade.console.talk import show, show_json
from crossfade.migrate.values import SCHEMA_VERSION
from crossfade.model import layouts
from crossfade.store.backends.postgres import schema
from crossfade.store.location import check_name, parse

_GRANTS = """
-- What the role needs: to build indexes, to add kinds, and to be who the functions run as, instead of whoever runs this.
GRANT USAGE, CREATE ON SCHEMA {schema} TO {role};
DO $do$ DECLARE made record; BEGIN
  FOR made IN SELECT oid::regclass AS name FROM pg_class WHERE relnamespace = '{name}'::regnamespace AND (
    relkind IN ('r', 'p', 'v') OR (relkind = 'S' AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_class.oid AND deptype = 'i'))
  ) LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO %I', made.name, '{owner}');
  END LOOP;
  FOR made IN SELECT oid::regprocedure AS name FROM pg_proc WHERE pronamespace = '{name}'::regnamespace LOOP
    EXECUTE format('ALTER FUNCTION %s OWNER TO %I', made.name, '{owner}');
  END LOOP;
END $do$;"""


def print_sql(name: str, layout: str, role: str) -> int:
    """Everything that crossfade would create, then what *role* needs."""
    check_name("schema", name)
    show(schema.ddl(name, layouts.load(layout or "prodigy")))
    if role:
        show(_GRANTS.format(schema=schema.quoted(name), role=schema.quoted(role), name=name, owner=role.replace("'", "''")))
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
