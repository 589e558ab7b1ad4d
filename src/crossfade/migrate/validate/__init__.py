"""Validation: is the target what the source is, in every respect, and where not?

``measure`` reads one side's bytes, ``server`` asks a database for the same figures, ``compare`` tells them apart, ``queries``
asks both sides real questions, ``validator`` goes through two trees, ``repair`` mends the side that is not the authority.
"""
