"""How a server goes about the statements that every run asks again and again: the time of a run must not grow faster than its tree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossfade.model.paths import key_of
from crossfade.store.backends.postgres.ledger import Ledger
from crossfade.store.backends.postgres.statements import statement
from support.servers import NAMES, Database

_ENTRIES = """
INSERT INTO entries (store_id, path, key, type, kind, form, generation, size, records, raws, mode, mtime_ns, link, complete, unstable)
SELECT 1, 'd/' || n, convert_to('d', 'UTF8') || '\\x00' || convert_to(n::text, 'UTF8'), 'file', 'other', 'blob', 1, 9, 1, 0, 420, n, '', true, false
FROM generate_series(1, 20000) AS n
"""
_MARKS = "INSERT INTO marks SELECT '{}', entry_id, size, mtime_ns, mtime_ns, entry_id, NULL, now() FROM entries"


@pytest.fixture(scope="module", params=NAMES)
def tree(request, servers) -> Iterator[Database]:
    """20,000 entries that one migration has marked long ago, and another one just now: statistics know nothing of that yet."""
    with servers.database(request.param) as database:
        ledger = Ledger(database.server, database.location.schema)
        ledger.ensure()
        ledger.add_store("tree", "file:///tree", "prodigy", "", "")
        ledger.close()
        with database.connect() as connection:
            for text in (_ENTRIES, _MARKS.format("old"), "ANALYZE entries", "ANALYZE marks", _MARKS.format("new")):
                connection.execute(text.encode())
        yield database


def _plan(tree: Database, name: str, mode: str, values: dict[str, object], kind: str = "") -> str:
    query = b"EXPLAIN " + statement(name, tree.location.schema, kind)
    with tree.connect() as connection:
        connection.execute(f"SET plan_cache_mode = {mode}".encode())
        rows = connection.execute(query, {"store_id": 1, "migration": "new", **values}, prepare=True).fetchall()
    return "\n".join(line for (line,) in rows)


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("after", [None, b"d/5"])
def test_a_list_looks_each_mark_up_and_goes_on_where_it_was(tree, mode, after):
    """Joined, the marks of a copy under way were gone through once for every entry; a walk from the start is as bad."""
    last = None if after is None else key_of(after)
    plan = _plan(tree, "entries_list", mode, {"after": last, "gone": True, "directories": False, "limit": 4000})

    assert "entries_in_order" in plan, plan
    assert "entry_id = entries.entry_id))" in plan, plan
    assert "Join Filter" not in plan, plan
    assert [line for line in plan.splitlines() if "Index Cond" in line and "FROM 1 FOR 512) >=" in line], plan


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_look_finds_entries_and_marks_by_their_indexes(tree, mode):
    """Whoever follows looks all the time."""
    plan = _plan(tree, "entries_look", mode, {"keys": [key_of(b"d/%d" % n) for n in range(1, 50)]})

    assert "entries_by_key" in plan, plan
    assert "entry_id = e.entry_id))" in plan, plan
    assert "Join Filter" not in plan, plan


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
def test_a_page_asks_an_index_whether_a_log_goes_on_behind_its_end(tree, mode):
    """Also where one log is all that there is, and its beginning far away: for each page it would be gone through."""
    with tree.connect() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS grown (store_id integer, entry_id bigint, pos bigint)")
        connection.execute("INSERT INTO grown SELECT 1, 7, n * 100 FROM generate_series(1, 20000) AS n")
        connection.execute("CREATE UNIQUE INDEX IF NOT EXISTS grown_by_place ON grown (store_id, entry_id, pos)")
        connection.execute("ANALYZE grown")
        plan = _plan(tree, "tails_look", mode, {"entries": "{7}", "positions": "{2000100}", "segment": 1 << 20}, "grown")
        connection.execute("DROP TABLE grown")

    assert plan.count("Scan Backward using") == 3, plan
    assert "Join" not in plan, plan
