"""``crossfade throttle``: other limits for a run that goes on, from any terminal, on any host."""

from __future__ import annotations

from typing import Any

from crossfade.console.finding import sought
from crossfade.console.talk import say, say_head, show_json, sized
from crossfade.errors import OptionInvalid, PhaseForbids
from crossfade.migrate.audit.record import refused
from crossfade.migrate.values import SCHEMA_VERSION

_LIMITS = ("records_per_second", "bytes_per_second", "cpu_max")


def throttle(
    words: tuple[str, ...], store: str, rates: tuple[float, float] | None, cpu_max: float | None, *, as_json: bool
) -> int:
    """Want *rates*, records and bytes a second, 0.0 for no limit; and a share of the processors. None leaves one as it is."""
    wanted = dict(zip(_LIMITS, (*(rates or (None, None)), cpu_max), strict=True))
    wanted = {name: value for name, value in wanted.items() if value is not None}
    if not wanted:
        raise OptionInvalid(
            "throttle wants --rate-limit, --cpu-max, or both", hint="crossfade throttle ID --rate-limit 5000"
        )
    with sought(words, store, changes=True) as found:
        ledger, migration = found.ledger, found.row.migration
        if found.row.phase == "finished":
            ending = PhaseForbids(f"migration {migration} is finished: nothing runs", hint=f"crossfade status {migration}")
            raise refused(ledger, migration, ending)
        found.begin()
        ledger.wish(migration, wanted)
        limits = {name: ledger.wishes(migration).get(name) for name in _LIMITS}
        runner, head = ledger.runner(migration), ledger.journal_head(migration)
        if as_json:
            show_json({"schema_version": SCHEMA_VERSION, "migration": migration, "limits": limits, "head": head.hex()})
        else:
            who = f"process {runner.pid} on {runner.host} keeps to" if runner else "no runner works on it; resume keeps to"
            say(f"migration {migration}: {who} {_spoken(limits)}")
        say_head(head)
    return 0


def _spoken(limits: dict[str, Any]) -> str:
    records, size, percent = (limits[name] for name in _LIMITS)
    rates = [f"{records:,.0f} records/s"] if records else []
    rates += [f"{sized(size)}/s"] if size else []
    share = f"{percent:g} % of the processors" if percent and percent < 100 else "all processors"
    return f"{' and '.join(rates) or 'no limit of the rate'}, {share}"
