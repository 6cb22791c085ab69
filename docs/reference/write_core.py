"""Write core.md: the public names of the core, by module, each with the first sentence of its docstring.

Run it after a change of `llm_core.__all__`: uv run python docs/reference/write_core.py
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from pathlib import Path

import llm_core

PAGE = Path(__file__).with_name("core.md")
HEAD = """# The core as a library

`from llm_core import …` needs nothing but attrs and the standard library. `allocate`, `authorise` and the session
functions work without any state; a controller drives `step`. Names that are not here are not for you: they may change.

This page is written by `write_core.py`.
"""


def page() -> str:
    """The whole page."""
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for name in llm_core.__all__:
        value = getattr(llm_core, name)
        module = getattr(value, "__module__", None) or ""
        lines[module if module.startswith("llm_core.") else ""].append(f"- `{name}`{_said_of(value)}")
    rooms = sorted(room for room in lines if room)
    parts = [f"## {room.removeprefix('llm_core.')}\n\n" + "\n".join(lines[room]) for room in rooms]
    return "\n".join([HEAD, "\n\n".join([*parts, "## Constants and unions\n\n" + "\n".join(lines[""])]), ""])


def _said_of(value: object) -> str:
    """The first sentence of its own docstring (not the one that a library wrote for it)."""
    if not (inspect.isclass(value) or inspect.isfunction(value)) or not value.__doc__:
        return ""
    first = " ".join(value.__doc__.split("\n\n")[0].split())
    return ": " + first.split(". ")[0].rstrip(".") + "."


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
