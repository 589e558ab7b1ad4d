"""The contract: what every store does, written once over the port, for our stores and for yours.

A case is a function that takes a bench; ``cases(can)`` are those that a store's declared capabilities call for::

    @pytest.mark.parametrize("case", contract.cases(MyStore.can), ids=str)
    def test_my_store_keeps_the_contract(case, tmp_path):
        case(contract.Bench(lambda: MyStore(tmp_path, contract.LAYOUT)))

Each call of the opener gives a store on the same tree, which is empty at first. A page names an entry as the store shows it:
with the row and the generation that it has there. When a store turns out to do something wrong that no case notices, the
case that would have noticed belongs here, so that every store learns.
"""

from crossfade.testing.contract import content, honesty, listing, metadata, moving, names, pages, reading, removing
from crossfade.testing.contract.bench import LAYOUT, TIME, Bench, digest_by_hand, directory, lines, link, puts
from crossfade.testing.contract.case import Case, cases

__all__ = [
    "LAYOUT",
    "TIME",
    "Bench",
    "Case",
    "cases",
    "content",
    "digest_by_hand",
    "directory",
    "honesty",
    "lines",
    "link",
    "listing",
    "metadata",
    "moving",
    "names",
    "pages",
    "puts",
    "reading",
    "removing",
]
