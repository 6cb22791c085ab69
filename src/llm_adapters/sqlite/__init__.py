"""Durable records in one SQLite file: `Database`, and on it the ports `Store`, `Archive` and `Accounts`."""

from llm_adapters.sqlite.accounts import SqliteAccounts, WeakPasswordError
from llm_adapters.sqlite.database import Database, snapshot_daily
from llm_adapters.sqlite.recovery import Recovery
from llm_adapters.sqlite.store import SqliteStore

__all__ = ["Database", "Recovery", "SqliteAccounts", "SqliteStore", "WeakPasswordError", "snapshot_daily"]
