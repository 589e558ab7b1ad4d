"""Stores around stores: the same port, with something added on the way."""
