"""A program that writes through crossfade, wherever the authority is: run as ``python -m soak.pen ROOT URL NAME PLACE``.

It writes down each write that took long, with its times on the machine's own clock; it rests while PLACE/rest exists, and
says so by NAME.rests; it ends when PLACE/over exists, with the number of its writes in NAME.done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from crossfade.store.writer import Writer

SLOW_SECONDS = 0.01
_PAUSE_SECONDS = 0.002
_SESSIONS = 8


def main() -> None:
    """Write until told to stop."""
    root, url, name, place = sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4])
    number = 0
    with Writer(root, url) as writer, (place / f"{name}.slow").open("w", buffering=1) as slow:
        while not (place / "over").exists():
            if (place / "rest").exists():
                (place / f"{name}.rests").touch()
                time.sleep(_PAUSE_SECONDS)
                continue
            (place / f"{name}.rests").unlink(missing_ok=True)
            for act in _acts(writer, name.encode(), number):
                began = time.monotonic()
                act()
                took = time.monotonic() - began
                if took > SLOW_SECONDS:
                    slow.write(f"{began} {took}\n")
            number += 1
            time.sleep(_PAUSE_SECONDS)
    (place / f"{name}.done").write_text(str(number))


def _acts(writer: Writer, name: bytes, number: int) -> list[Callable[[], None]]:
    """An event; now and then a session anew, or one less."""
    session = b"sessions/%b-%d.json" % (name, number % _SESSIONS)
    line = b'{"id":"%b-%d","event":{"event_type":"agent_started"}}\n' % (name, number)
    acts = [lambda: writer.append(b"events/soak/%b/events-1.jsonl" % name, line)]
    if number % 5 == 0:
        acts.append(lambda: writer.put(session, b'{"id":"%b","status":"Running","count":%d}' % (name, number)))
    if number % 50 == 49:
        acts.append(lambda: writer.remove(session))
    return acts


if __name__ == "__main__":
    main()
