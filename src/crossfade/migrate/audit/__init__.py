"""The audit trail of a run: what is worth a line of the journal, how it gets there, and whether the chain still holds."""
