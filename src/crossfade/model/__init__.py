"""What we keep: kinds, layouts, entries, records, digests. Values and plain functions; no I/O."""
