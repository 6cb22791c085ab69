"""What waits for an operator, on the disk: taken once, in order, kept when refused, thinned where it must be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from memory_inbox import EPOCH

from llm_adapters.sqlite import outbox
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.sqlite.uplink import SqliteUplink
from llm_core import CpoForgotten, CpoVerdict, QueueLengths, UplinkKind, UplinkMessage, Verdict

Scene = Callable[[SqliteUplink, SqliteStore], Coroutine[Any, Any, None]]


class SteadyClock:
    def monotonic_ms(self) -> int:
        return 0

    def utc(self) -> datetime:
        return EPOCH


def play(folder: Path, scene: Scene) -> None:
    async def main() -> None:
        database = await Database.open(folder, SteadyClock())
        try:
            await scene(SqliteUplink(database), SqliteStore(database))
        finally:
            await database.close()

    asyncio.run(main())


def start(number: int, station: str = "ST1") -> UplinkMessage:
    return UplinkMessage(station, UplinkKind.START, number, 1, "04A1", 1_000, EPOCH, said='{"idTag":"04A1"}')


def stop(number: int, station: str = "ST1") -> UplinkMessage:
    return UplinkMessage(station, UplinkKind.STOP, number, 1, None, 2_000, EPOCH, "Local")


def meter(number: int, said: str = "{}") -> UplinkMessage:
    return UplinkMessage("ST1", UplinkKind.METER, number, 1, at=EPOCH, said=said)


def test_what_goes_in_comes_out_in_order_and_as_it_was(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await store.commit([start(1)])
        await book.put([meter(1, '{"n":1}'), meter(0)])
        await store.commit([stop(1), start(2, "ST2")])
        waiting = await book.waiting("ST1", 10)
        assert [queued.message for queued in waiting] == [start(1), meter(1, '{"n":1}'), meter(0), stop(1)]
        assert len({queued.message_id for queued in waiting}) == 4
        assert [queued.message for queued in await book.waiting("ST1", 2)] == [start(1), meter(1, '{"n":1}')]
        assert await book.lengths("ST1") == QueueLengths(4)

    play(tmp_path, scene)


def test_a_start_and_a_stop_are_taken_once_and_nothing_without_a_start(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await store.commit([stop(1)])
        await book.put([meter(1)])
        assert await book.lengths("ST1") == QueueLengths()
        for message in (start(1), start(1), stop(1), stop(1), stop(1, "ST2")):
            await store.commit([message])
        kinds = [queued.message.kind for queued in await book.waiting("ST1", 10)]
        assert kinds == [UplinkKind.START, UplinkKind.STOP]
        await book.delivered([queued.number for queued in await book.waiting("ST1", 10)])
        await store.commit([start(1), stop(1)])  # repeated after it was delivered
        assert await book.lengths("ST1") == QueueLengths()

    play(tmp_path, scene)


def test_the_operators_numbers_are_known_both_ways_whatever_they_are(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        for number, cpo_number in ((1, -16), (2, 2**63), (3, 0), (4, -16)):
            await store.commit([start(number)])
            (queued,) = await book.waiting("ST1", 1)
            await book.started(queued.number, cpo_number)
            assert await book.cpo_transaction(number) == cpo_number
        assert await book.own_transaction("ST1", -16) == 4  # the newest that it calls so
        assert await book.own_transaction("ST1", 2**63) == 2
        assert await book.own_transaction("ST2", -16) is None
        assert await book.cpo_transaction(99) is None
        await store.commit([stop(2)])
        assert [queued.cpo_transaction_id for queued in await book.waiting("ST1", 1)] == [2**63]

    play(tmp_path, scene)


def test_what_is_refused_takes_its_followers_along_is_kept_and_can_be_sent_again(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await store.commit([start(1), stop(1), start(2)])
        (first, *_) = await book.waiting("ST1", 1)
        await book.refuse(first.number, "FormationViolation")
        assert [queued.message for queued in await book.waiting("ST1", 10)] == [start(2)]
        refused = await book.refused("ST1", 10)
        assert [(queued.message.kind, queued.refusal) for queued in refused] == [
            (UplinkKind.STOP, "FormationViolation"),
            (UplinkKind.START, "FormationViolation"),
        ]
        assert await book.lengths("ST1") == QueueLengths(1, 2)
        await book.retry_refused("ST1")
        assert [queued.message for queued in await book.waiting("ST1", 10)] == [start(1), stop(1), start(2)]
        await book.refuse(99_999, "nothing there")

    play(tmp_path, scene)


def test_a_start_that_was_sent_and_never_answered_is_doubtful_and_one_that_was_refused_is_not(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await store.commit([start(1), start(2)])
        first, second = await book.waiting("ST1", 2)
        await book.sending(first.number)
        assert (await book.lengths("ST1")).doubtful == 0
        await book.sending(first.number)
        assert (await book.lengths("ST1")).doubtful == 1
        await book.sending(second.number)
        await book.not_taken(second.number)
        await book.sending(second.number)
        assert (await book.lengths("ST1")).doubtful == 1

    play(tmp_path, scene)


def test_readings_are_thinned_and_starts_and_stops_never(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MOST_METER_VALUES", 1_000)

    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await store.commit([start(1)])
        await book.put([meter(1, str(n)) for n in range(2_998)])
        await store.commit([stop(1)])
        waiting = [queued.message for queued in await book.waiting("ST1", 10_000)]
        assert (waiting[0], waiting[-1]) == (start(1), stop(1))
        readings = [int(message.said) for message in waiting[1:-1]]
        assert readings == sorted(readings)
        assert readings[0] == 0
        assert 1_000 <= len(readings) < 2_998

    play(tmp_path, scene)


def test_a_secret_is_kept_apart_and_only_that_there_is_one_is_told(tmp_path: Path) -> None:
    async def scene(book: SqliteUplink, store: SqliteStore) -> None:
        await book.keep({("ST1", "password"): "canary-0123456789", ("ST1", "certificate_key"): "key"}, "ann")
        assert await book.secret("ST1", "password") == "canary-0123456789"
        assert await book.secret("ST2", "password") is None
        assert await book.names() == {("ST1", "password"), ("ST1", "certificate_key")}
        await book.keep({("ST1", "certificate_key"): None}, "ann")
        assert await book.names() == {("ST1", "password")}
        trail = [entry async for entry in store.audit(10)]
        assert len(trail) == 3
        assert not any("canary" in repr(entry) for entry in trail)
        assert "ST1 password: set" in [entry.new for entry in trail]

    play(tmp_path, scene)


def test_notes_and_verdicts_outlive_a_restart(tmp_path: Path) -> None:
    accepted, blocked = CpoVerdict("04a1", Verdict.ACCEPTED, EPOCH), CpoVerdict("04b2", Verdict.BLOCKED)

    async def before(book: SqliteUplink, store: SqliteStore) -> None:
        await book.note("ST1", "keys", "{}")
        await book.note("ST1", "boot", "old")
        await book.note("ST1", "boot", None)
        await store.commit(
            [accepted, blocked, CpoVerdict("04c3", Verdict.ACCEPTED), CpoVerdict("04c3", None), accepted]
        )

    async def after(book: SqliteUplink, store: SqliteStore) -> None:
        assert await book.notes("ST1") == {"keys": "{}"}
        assert (await store.load()).cpo_verdicts == (blocked, accepted)
        await store.commit([CpoForgotten()])
        assert (await store.load()).cpo_verdicts == ()

    play(tmp_path, before)
    play(tmp_path, after)
