"""The port `ModelMemory` on the database: what was learned of each model and firmware of stations."""

from __future__ import annotations

import asyncio
import logging

from llm_adapters.sqlite.columns import storable
from llm_adapters.sqlite.database import Database
from llm_core import StoreError

MOST_MODELS = 1_000  # more is no site but somebody who invents them
log = logging.getLogger(__name__)


class SqliteModelMemory:
    """Held in memory, written behind; a write that fails is logged, and made good by the next one of that model."""

    def __init__(self, database: Database, documents: dict[str, str]) -> None:
        self._database = database
        self._documents = documents
        self._writing: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, database: Database) -> SqliteModelMemory:
        rows = await database.read(lambda c: c.execute("SELECT model, document FROM station_models").fetchall())
        return cls(database, dict(rows))

    def recall(self, model: str) -> str | None:
        return self._documents.get(storable(model))

    def remember(self, model: str, document: str) -> None:
        """Keep it; returns at once. Called within the running loop."""
        model, document = storable(model), storable(document)
        if self._documents.get(model) == document or (
            model not in self._documents and len(self._documents) >= MOST_MODELS
        ):
            return
        self._documents[model] = document
        writing = asyncio.create_task(self._write(model, document))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)

    async def settle(self) -> None:
        """Returns when everything remembered so far is written, or has failed to be."""
        await asyncio.gather(*self._writing)

    async def _write(self, model: str, document: str) -> None:
        try:
            await self._database.write(
                lambda c: c.execute("INSERT OR REPLACE INTO station_models VALUES (?, ?)", (model, document))
            )
        except StoreError as error:
            log.warning("what was learned of %s is not written: %s", model, error)
