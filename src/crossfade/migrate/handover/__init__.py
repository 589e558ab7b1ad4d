"""Handing the authority from one side to the other: cut over, roll back, finish.

``order`` is what somebody asked for; ``gates`` decides, on values, whether it may begin; ``steps`` is the list around one
durable decision; ``acts`` does each of them, ``hold`` bounds how long writers wait; ``carry`` keeps the order, undoes, and
tries again; ``completing`` ends what a crash left. ``control`` is the side that keeps the control state, ``far`` what is needed
of the other one, ``choosing`` which one that is; ``authority`` says who else may have it. ``heeding`` is called by whoever follows. The same list serves both directions, so that a roll back is a cut-over
with its sides exchanged.
"""
