"""The port `StationKeys` on the database: the keys of stations, as scrypt hashes.

A key has 16 bytes at least, so it is no guess of a person and scrypt may be light here: a hundred stations come back
within a second or two after a restart. A key that was right once is known again by a keyed digest of this run, so that
links which come and go cost nothing. Stations send a key as the bytes it is or as the hex digits in which OCPP hands
it over (OCPP-J 1.6 §6.2.2): both are one key.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import sqlite3

from llm_adapters.sqlite.columns import storable
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import append_audit
from llm_core import AuditEntry

COST, BLOCK, PARALLEL = 2**12, 8, 1  # about 10 ms and 4 MiB
AT_ONCE = 2
MOST_WAITING = 128  # more is no storm of stations but somebody who guesses
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){16,40}")


class SqliteStationKeys:
    """Keys of stations; what is asked at every handshake is held in memory, as hashes."""

    def __init__(self, database: Database, hashes: dict[str, str]) -> None:
        self._database = database
        self._hashes = hashes
        self._secret = secrets.token_bytes(32)
        self._seen: dict[str, bytes] = {}  # a digest of the key that matched last
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @classmethod
    async def open(cls, database: Database) -> SqliteStationKeys:
        rows = await database.read(lambda c: c.execute("SELECT station_id, hash FROM station_keys").fetchall())
        return cls(database, dict(rows))

    def has_key(self, station_id: str) -> bool:
        return station_id in self._hashes

    async def matches(self, station_id: str, key: bytes) -> bool:
        """Whether this is the station's key, as bytes or hex-coded; False without one, and while too many guess."""
        stored = self._hashes.get(station_id)
        if stored is None:
            return False
        key = _canonical(key)
        digest = hmac.digest(self._secret, key, "sha256")
        seen = self._seen.get(station_id)
        if seen is not None and hmac.compare_digest(digest, seen):
            return True
        if self._waiting >= MOST_WAITING:
            return False
        if not await self._is_hash_of(stored, key) or self._hashes.get(station_id) != stored:
            return False
        self._seen[station_id] = digest
        return True

    async def set_key(self, station_id: str, key: bytes | None, by: str) -> None:
        """Replace the key (None: remove it), audited without it. On the disk when it returns, else `StoreError`."""
        hashed = None if key is None else await asyncio.to_thread(_hashed, _canonical(key))
        now = self._database.clock.utc()

        def write(connection: sqlite3.Connection) -> None:
            name = storable(station_id)
            if hashed is None:
                connection.execute("DELETE FROM station_keys WHERE station_id = ?", (name,))
            else:
                connection.execute("INSERT OR REPLACE INTO station_keys VALUES (?, ?)", (name, hashed))
            new = "removed" if hashed is None else "set"
            append_audit(connection, AuditEntry(now, by, "station password", station_id, new))

        await self._database.write(write)
        self._seen.pop(station_id, None)
        if hashed is None:
            self._hashes.pop(station_id, None)
        else:
            self._hashes[station_id] = hashed

    async def _is_hash_of(self, stored: str, key: bytes) -> bool:
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(_is_hash_of, stored, key)
        finally:
            self._waiting -= 1


def _canonical(key: bytes) -> bytes:
    """The bytes that hex digits stand for, where it is such; else the key itself."""
    return bytes.fromhex(key.decode("ascii")) if _HEX.fullmatch(key) else key


def _hashed(key: bytes) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt:{COST}:{BLOCK}:{PARALLEL}:{salt.hex()}:{_digest(key, salt, COST, BLOCK, PARALLEL).hex()}"


def _is_hash_of(stored: str, key: bytes) -> bool:
    _, cost, block, parallel, salt, digest = stored.split(":")
    found = _digest(key, bytes.fromhex(salt), int(cost), int(block), int(parallel))
    return hmac.compare_digest(found, bytes.fromhex(digest))


def _digest(key: bytes, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    return hashlib.scrypt(key, salt=salt, n=cost, r=block, p=parallel, dklen=32)
