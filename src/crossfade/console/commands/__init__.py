"""The verbs, a module each. One is loaded when it is called: no verb waits for what only another one needs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crossfade.console.commands import (
        audit,
        demo,
        doctor,
        drift,
        explain,
        follow,
        handover,
        layouts,
        pause,
        plan,
        quarantine,
        repair,
        restore,
        resume,
        schema,
        start,
        status,
        throttle,
        validate,
        watch,
    )

__all__ = [
    "audit",
    "demo",
    "doctor",
    "drift",
    "explain",
    "follow",
    "handover",
    "layouts",
    "pause",
    "plan",
    "quarantine",
    "repair",
    "restore",
    "resume",
    "schema",
    "start",
    "status",
    "throttle",
    "validate",
    "watch",
]


def __getattr__(name: str) -> ModuleType:
    """The module of a verb; Python asks only where it is not loaded yet."""
    if name not in __all__:
        raise AttributeError(f"there is no verb {name!r}")
    return import_module(f"{__name__}.{name}")
