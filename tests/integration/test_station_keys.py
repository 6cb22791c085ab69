"""Keys of stations at rest: hashed, found again after a restart, and one key however it is written."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from patience import fair_s

from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.models import MOST_MODELS, SqliteModelMemory
from llm_adapters.sqlite.station_keys import SqliteStationKeys
from llm_adapters.sqlite.store import SqliteStore
from llm_app.clock import SystemClock

KEY = b"CANARY-of-16-bytes"


async def opened(folder: Path) -> Database:
    return await Database.open(folder, SystemClock())


@pytest.mark.parametrize("key", [KEY, bytes(range(20)), b"\xff" * 16])
def test_a_key_is_known_again_and_no_other_is(tmp_path: Path, key: bytes) -> None:
    async def scenario() -> None:
        database = await opened(tmp_path)
        keys = await SqliteStationKeys.open(database)
        assert not keys.has_key("ST1")
        assert not await keys.matches("ST1", key)
        await keys.set_key("ST1", key, "admin")
        await database.close()
        database = await opened(tmp_path)
        keys = await SqliteStationKeys.open(database)
        assert keys.has_key("ST1")
        for _ in range(2):  # a key that was right once is recognised otherwise
            assert await keys.matches("ST1", key)
            assert await keys.matches("ST1", key.hex().encode())
            assert await keys.matches("ST1", key.hex().upper().encode())
            assert not await keys.matches("ST1", key + b"!")
            assert not await keys.matches("ST2", key)
        await keys.set_key("ST1", b"another key of 16 bytes", "admin")
        assert not await keys.matches("ST1", key)
        await keys.set_key("ST1", None, "admin")
        assert not keys.has_key("ST1")
        await database.close()

    asyncio.run(scenario())


def test_no_key_lies_in_the_files_and_every_change_is_in_the_audit_trail(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = await opened(tmp_path)
        keys = await SqliteStationKeys.open(database)
        await keys.set_key("ST1", KEY, "anna")
        await keys.set_key("ST1", None, "anna")
        await keys.set_key("ST2", KEY, "anna")
        trail = [entry async for entry in SqliteStore(database).audit(10)]
        assert [(e.by, e.what, e.old, e.new) for e in trail] == [
            ("anna", "station password", "ST2", "set"),
            ("anna", "station password", "ST1", "removed"),
            ("anna", "station password", "ST1", "set"),
        ]
        await database.close()

    asyncio.run(scenario())
    for file in tmp_path.iterdir():
        content = file.read_bytes()
        assert KEY not in content
        assert KEY.hex().encode() not in content


def test_a_crowd_that_guesses_is_turned_away_and_the_station_still_gets_in(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = await opened(tmp_path)
        keys = await SqliteStationKeys.open(database)
        await keys.set_key("ST1", KEY, "admin")
        assert await keys.matches("ST1", KEY)
        guesses = [asyncio.create_task(keys.matches("ST1", b"guess %10d !!!" % n)) for n in range(500)]
        await asyncio.sleep(0)
        began_s = fair_s()
        assert await keys.matches("ST1", KEY)
        assert fair_s() - began_s < 0.5
        assert not any(await asyncio.gather(*guesses))
        await database.close()

    asyncio.run(scenario())


def test_what_was_learned_of_a_model_is_known_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = await opened(tmp_path)
        models = await SqliteModelMemory.open(database)
        models.remember("Acme/Post/1", "first")
        models.remember("Acme/Post/1", "second")
        for number in range(MOST_MODELS):
            models.remember(f"invented {number}", "x")
        await models.settle()
        await database.close()
        database = await opened(tmp_path)
        models = await SqliteModelMemory.open(database)
        assert models.recall("Acme/Post/1") == "second"
        assert models.recall(f"invented {MOST_MODELS - 1}") is None
        await database.close()

    asyncio.run(scenario())
