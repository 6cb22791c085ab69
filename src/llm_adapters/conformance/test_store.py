"""A store: what a commit returned for is there after a restart, whole; what it did not return for is nowhere."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from llm_adapters.conformance.benches import StoreBench, WallClock, bench
from llm_core import (
    Badge,
    BadgeRecord,
    Ceiling,
    CpoVerdict,
    PerPhase,
    Record,
    RefusedStart,
    Session,
    Site,
    Station,
    Stored,
    Supply,
    Verdict,
    close_session,
    normalise,
    open_session,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SITE_HERE = Site(
    supply=Supply(static_max_ma=PerPhase.same(40_000)), stations=(Station("ST1", name="Säule “1”"), Station("ST2"))
)
ACKNOWLEDGED = 30


def badge(badge_id: str, comment: str = "") -> BadgeRecord:
    return BadgeRecord(normalise(badge_id), Badge(badge_id, comment=comment))


def begun(transaction_id: int) -> Session:
    return open_session(transaction_id, "ST1", 1, "a1b2c3", NOON, 1_000)


def committed(store_name: str, folder: Path, *commits: Iterable[Any]) -> None:
    async def whole() -> None:
        subject: StoreBench = bench(store_name)
        async with subject.open(folder, WallClock()) as store:
            for records in commits:
                await store.commit(records)

    asyncio.run(whole())


def loaded(store_name: str, folder: Path) -> Stored:
    async def whole() -> Stored:
        subject: StoreBench = bench(store_name)
        async with subject.open(folder, WallClock()) as store:
            await store.probe()
            return await store.load()

    return asyncio.run(whole())


def test_a_new_store_is_empty(store_name: str, tmp_path: Path) -> None:
    assert loaded(store_name, tmp_path) == Stored()


def test_what_was_committed_is_there_after_a_restart(store_name: str, tmp_path: Path) -> None:
    records: list[Record] = [
        SITE_HERE,
        badge("04:A1:B2", "Müller; =1+1"),
        begun(41),
        Ceiling("ST1", 1, 16_000),
        CpoVerdict("04a1b2", Verdict.BLOCKED),
    ]
    committed(store_name, tmp_path, records)
    found = loaded(store_name, tmp_path)
    assert found.site == SITE_HERE
    assert found.badges == (Badge("04:A1:B2", comment="Müller; =1+1"),)
    assert found.open_sessions == (begun(41),)
    assert dict(found.ceilings) == {("ST1", 1): 16_000}
    assert found.cpo_verdicts == (CpoVerdict("04a1b2", Verdict.BLOCKED),)
    assert found.last_transaction_id == 41
    assert not found.doubtful


def test_the_newest_record_holds_and_a_removed_badge_is_gone(store_name: str, tmp_path: Path) -> None:
    renamed = attrs.evolve(SITE_HERE, stations=())
    committed(
        store_name,
        tmp_path,
        [SITE_HERE, badge("a1", "old"), badge("b2"), Ceiling("ST1", 1, 16_000)],
        [renamed, badge("A1", "new"), BadgeRecord("b2", None), Ceiling("ST1", 1, 6_000)],
    )
    found = loaded(store_name, tmp_path)
    assert found.site == renamed
    assert found.badges == (Badge("A1", comment="new"),)
    assert found.ceilings["ST1", 1] == 6_000


def test_a_session_that_ended_is_open_no_more(store_name: str, tmp_path: Path) -> None:
    ended = close_session(begun(41), NOON, 3_500, "Local")
    committed(store_name, tmp_path, [begun(41), begun(42)], [ended])
    found = loaded(store_name, tmp_path)
    assert [session.transaction_id for session in found.open_sessions] == [42]
    assert ended in found.recent_sessions
    assert found.last_transaction_id == 42


def test_a_refused_attempt_is_kept(store_name: str, tmp_path: Path) -> None:
    refused = RefusedStart(NOON, "ST1", "ffff", Verdict.INVALID)
    committed(store_name, tmp_path, [refused])
    assert loaded(store_name, tmp_path).refusals == (refused,)


def test_a_commit_is_kept_whole_or_not_at_all(store_name: str, tmp_path: Path) -> None:
    """A record that no store can know ends the commit in an error; nothing that stood beside it may be found."""
    committed(store_name, tmp_path, [badge("a1")])
    with pytest.raises(Exception):  # noqa: B017 - which one is the store's own affair
        committed(store_name, tmp_path, [badge("b2"), begun(7), object()])
    found = loaded(store_name, tmp_path)
    assert [known.badge_id for known in found.badges] == ["a1"]
    assert found.open_sessions == ()


def test_commits_at_the_same_time_are_all_kept(store_name: str, tmp_path: Path) -> None:
    async def whole() -> None:
        subject: StoreBench = bench(store_name)
        async with subject.open(tmp_path, WallClock()) as store:
            await asyncio.gather(*(store.commit([badge(f"b{number}")]) for number in range(50)))

    asyncio.run(whole())
    assert {known.badge_id for known in loaded(store_name, tmp_path).badges} == {f"b{number}" for number in range(50)}


def test_a_process_that_is_killed_loses_nothing_that_was_acknowledged(store_name: str, tmp_path: Path) -> None:
    """SIGKILL only: what a power cut does to a disk is for a test of its own."""
    child = subprocess.Popen(
        [sys.executable, "-m", "llm_adapters.conformance.committing", store_name, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    with child:
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(ACKNOWLEDGED)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split()
    assert len(acknowledged) >= ACKNOWLEDGED
    assert set(acknowledged) <= {known.badge_id for known in loaded(store_name, tmp_path).badges}
