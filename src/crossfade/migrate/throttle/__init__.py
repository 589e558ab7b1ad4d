"""Keeping out of the way: what is looked at, what is made of it, and how all workers of a run hear of it.

``sample`` is what was seen at one moment, ``judge`` decides on samples alone, ``gate`` is the memory that the workers share,
``machine`` and ``server`` look. ``migrate.governor`` puts them together.
"""
