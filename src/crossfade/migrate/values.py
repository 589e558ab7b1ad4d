"""Values for programs: what each of them begins with."""

SCHEMA_VERSION = 1
"""Of everything that a verb prints with ``--json``, and that a report keeps."""
