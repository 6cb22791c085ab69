"""Copies of frozen values with a few fields changed: `attrs.evolve`, made for the paths that every reading takes.

A class without slots keeps its fields in a dict, and copying that takes a tenth of the time that its `__init__` takes.
"""

from __future__ import annotations

from typing import Any, TypeVar

T = TypeVar("T")


def changed(value: T, **changes: Any) -> T:
    """The value with these fields; itself where they are so already.

    For classes with `slots=False` and neither a validator nor a cached property. Numbers and None are compared; of
    anything larger only the very same is the same, since comparing it would cost more than the copy.
    """
    same = True
    for name, wanted in changes.items():
        present = getattr(value, name)
        if present is not wanted and (type(wanted) is not int or present != wanted):
            same = False
    if same:
        return value
    copy = object.__new__(type(value))
    copy.__dict__.update(value.__dict__, **changes)
    return copy
