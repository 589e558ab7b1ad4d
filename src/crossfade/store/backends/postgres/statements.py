"""SQL lives in ``sql/``, one statement a file; here its placeholders for identifiers are filled in."""

from __future__ import annotations

from functools import cache
from importlib import resources

from crossfade.store.backends.postgres.schema import quoted


@cache
def statement(name: str, schema: str, kind: str = "") -> bytes:
    """The statement ``sql/NAME.sql``, for *schema* and, where it asks for one, the table of *kind*."""
    text = (resources.files("crossfade.store.backends.postgres") / "sql" / f"{name}.sql").read_text()
    return text.replace("{schema}", quoted(schema)).replace("{kind}", quoted(kind)).encode()
