"""A directory tree, as a store.

``tree`` opens things without ever leaving the root, ``walk`` lists them in order, ``writing`` makes a page true and durable,
``store`` is the port.
"""
