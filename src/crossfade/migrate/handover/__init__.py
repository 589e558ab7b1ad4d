"""Handing the authority from one side to the other: cut over, roll back, finish.

``order`` is what somebody asked for; ``gates`` decides, on values, whether it may begin; ``steps`` is the list around one
durable decision; ``acts`` does each of them on a tree and its twin in a database; ``carry`` keeps the order, undoes, and
tries again; ``completing`` ends what a crash left. The same list serves both directions, so that a roll back is a cut-over
with its sides exchanged.
"""
