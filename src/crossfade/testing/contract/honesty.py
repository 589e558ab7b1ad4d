"""A store is what it says."""

from __future__ import annotations

import json

from crossfade.testing.contract.bench import LAYOUT, Bench
from crossfade.testing.contract.case import case


@case()
def the_store_is_what_it_says(bench: Bench) -> None:
    """Its capabilities decide what is asked of it, so they must be true."""
    bench.put(b"doc.json", b"{}")
    entry = bench.there(b"doc.json")

    assert (entry.digest is not None) == bench.store.can.digests
    assert entry.signature is not None or not bench.store.can.signatures
    assert bench.store.layout.fingerprint == LAYOUT.fingerprint


@case()
def closing_twice_is_no_mistake(bench: Bench) -> None:
    """Whoever opened a store closes it on the way out, whatever happened before."""
    bench.put(b"doc.json", json.dumps({"title": "t"}).encode())
    bench.store.close()
    bench.store.close()
    bench.reopen()

    assert bench.paths() == [b"doc.json"]
