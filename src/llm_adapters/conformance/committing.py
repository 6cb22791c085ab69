"""Commits badges one by one and tells each one once it is committed, until it is killed: for `test_store.py`."""

from __future__ import annotations

import asyncio
import sys
from itertools import count
from pathlib import Path

from llm_adapters.conformance.benches import StoreBench, WallClock, bench
from llm_core import Badge, BadgeRecord


async def commit_for_ever(store_name: str, folder: Path) -> None:
    subject: StoreBench = bench(store_name)
    async with subject.open(folder, WallClock()) as store:
        for number in count():
            await store.commit([BadgeRecord(f"k{number}", Badge(f"k{number}"))])
            sys.stdout.write(f"k{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(commit_for_ever(sys.argv[1], Path(sys.argv[2])))
