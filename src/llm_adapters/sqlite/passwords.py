"""Passwords at rest: the standard library's scrypt. Slow on purpose, so it runs beside the loop and the database."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import unicodedata

COST, BLOCK, PARALLEL = 2**15, 8, 1  # a tenth of a second and 32 MiB
MOST_MEMORY = 64 * 1024 * 1024
AT_ONCE = 2  # 64 MiB together, on a controller that has 1 GiB
MOST_WAITING = 16


class Scrypt:
    """Hashes and compares, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @property
    def is_busy(self) -> bool:
        """So many wait that the next one should be turned away."""
        return self._waiting >= MOST_WAITING

    async def hashed(self, password: str) -> str:
        """What to store: the parameters, a salt of its own, the hash."""
        salt = secrets.token_bytes(16)
        digest = await self._digest(password, salt, COST, BLOCK, PARALLEL)
        return f"scrypt:{COST}:{BLOCK}:{PARALLEL}:{salt.hex()}:{digest.hex()}"

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether `stored` was made from `password`; takes as long for nobody's password (None) as for a wrong one."""
        _, cost, block, parallel, salt, digest = (stored or _NOBODY).split(":")
        found = await self._digest(password, bytes.fromhex(salt), int(cost), int(block), int(parallel))
        return hmac.compare_digest(found, bytes.fromhex(digest)) and stored is not None

    async def _digest(self, password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
        secret = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")  # é is one letter or two
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(
                    hashlib.scrypt, secret, salt=salt, n=cost, r=block, p=parallel, maxmem=MOST_MEMORY, dklen=32
                )
        finally:
            self._waiting -= 1


_NOBODY = f"scrypt:{COST}:{BLOCK}:{PARALLEL}:{'00' * 16}:{'00' * 32}"
