"""Following: keeping a target in step with a source that lives.

Hints name paths, a sweep finds what no hint named, and either way a path is looked at on both sides, now, before anything is
decided. A hint that is lost costs time, never content: whoever may have lost one says so, and nothing is handed over
before all was looked at again.
"""
