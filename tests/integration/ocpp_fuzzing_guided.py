"""Coverage-guided fuzzing of the central system: `uv run --group fuzz python tests/integration/ocpp_fuzzing_guided.py
-runs=1000000`. Needs atheris, which exists for Linux on x86-64 only.
"""

from __future__ import annotations

import random
import sys

import atheris

with atheris.instrument_imports(include=["llm_adapters.ocpp16"]):
    import llm_adapters.ocpp16.stations  # noqa: F401

from ocpp_fuzzing import Target, frames

target = Target()


def one(data: bytes) -> None:
    """Half of the frames are made from the bytes, half are the bytes."""
    target.feed(data[1:] if data[:1] >= b"\x80" else next(frames(random.Random(data))))
    if target.fed % 50_000 == 0:
        target.check()
        sys.stderr.write(f"{target.fed} frames, nothing dead, nothing left behind\n")


atheris.Setup(sys.argv, one)
atheris.Fuzz()
