"""A command without the powers of root, whoever runs the tests.

Another user would not do: root's Python is often where nobody else may look. So root keeps its name and loses the right to
pass over permission bits; for everybody else there is nothing to lose.
"""

from __future__ import annotations

import ctypes

_DROP = 24  # PR_CAPBSET_DROP
_OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
_FOWNER = 3  # CAP_FOWNER

_libc = ctypes.CDLL(None)


def obey_permissions() -> None:
    """For ``preexec_fn``: what runs next is held to permission bits, as the owner of root's files."""
    for capability in _OVERRIDES:
        _libc.prctl(_DROP, capability, 0, 0, 0)


def obey_owners() -> None:
    """The same; and it sets modes and times of what is its own, and of nothing else."""
    obey_permissions()
    _libc.prctl(_DROP, _FOWNER, 0, 0, 0)
