"""The port `Accounts` on the database: users, browser sessions, API tokens.

Passwords are kept as scrypt hashes; cookies and tokens, random 256 bit numbers, as plain SHA-256. A session's CSRF
token is derived from its cookie, so it needs no place of its own. Every change stands in the audit trail of the same
transaction, without any secret. The factory state ends once and never comes back.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import sqlite3
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

import attrs

from llm_adapters.sqlite.attempts import Attempts
from llm_adapters.sqlite.columns import storable, utc_text
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.passwords import Scrypt
from llm_adapters.sqlite.store import append_audit
from llm_core import (
    AuditEntry,
    PasswordRule,
    Role,
    StoreError,
    Token,
    TryLater,
    User,
    WebSession,
    WrongPassword,
    broken_rules,
)

FACTORY_NAME, FACTORY_PASSWORD = "admin", "1234"
IDLE = timedelta(hours=12)
LONGEST_SESSION = timedelta(days=7)
SEEN_STEP = timedelta(minutes=10)  # how exactly idleness is known: one write in so long, not one for each request
TOKEN_PREFIX = "llm_"
log = logging.getLogger(__name__)


class WeakPasswordError(ValueError):
    """A password that breaks rules; `broken` names them all."""

    def __init__(self, broken: tuple[PasswordRule, ...]) -> None:
        super().__init__(f"the password breaks these rules: {', '.join(broken)}")
        self.broken = broken


@attrs.frozen
class _Row:
    """A user as stored, and whether the factory password still counts."""

    user: User
    password: str | None
    factory: bool


class SqliteAccounts:
    """Users, browser sessions and API tokens (port `Accounts`). Every method may raise `StoreError`."""

    def __init__(self, database: Database, first_login_code: str | None = None) -> None:
        self._database = database
        self._clock = database.clock
        self._scrypt = Scrypt()
        self._attempts = Attempts()
        self._is_set_up = False
        self._factory_password = first_login_code or FACTORY_PASSWORD

    async def is_factory(self) -> bool:
        """True until somebody has set a password or made a token; once False, it stays False."""
        if not self._is_set_up:
            self._is_set_up = not await self._database.read(_is_factory)
        return not self._is_set_up

    async def sign_in(self, name: str, password: str, address: str) -> WebSession | WrongPassword | TryLater:
        """A new browser session. While nobody has set a password, admin/1234 (or the code of this device) opens one
        from a private address, for a user whose password is temporary. Takes as long for a user who does not exist."""
        key = (name.casefold(), address)
        row = await self._database.read(lambda connection: _find(connection, name))
        matches = await self._compare(key, password, row)
        if isinstance(matches, TryLater):
            return matches
        if row is not None and row.factory:
            matches = row.user.name == FACTORY_NAME and _is_same(password, self._factory_password) and is_near(address)
        if row is None or not matches:
            return WrongPassword()
        cookie = secrets.token_urlsafe(32)
        if not await self._database.write(lambda connection: self._begin_session(connection, row, cookie)):
            return WrongPassword()  # the password was changed while this one was compared
        self._attempts.succeed(key)
        return WebSession(row.user, cookie, _csrf(cookie))

    async def web_session(self, cookie: str) -> WebSession | None:
        """The session that this cookie opens; None when it ended: 12 h idle, 7 days old, signed out, or its user got
        a new password or was removed."""
        found = await self._database.read(
            lambda connection: connection.execute(
                "SELECT users.name, role, temporary, created_at, seen_at FROM web_sessions"
                " JOIN users ON users.name = web_sessions.user WHERE cookie_hash = ?",
                (_hash(cookie),),
            ).fetchone()
        )
        if found is None:
            return None
        name, role, temporary, created_at, seen_at = found
        idle = abs(self._clock.utc() - datetime.fromisoformat(seen_at))  # a clock that was set back ends it too
        if idle >= IDLE or abs(self._clock.utc() - datetime.fromisoformat(created_at)) >= LONGEST_SESSION:
            return None
        if idle >= SEEN_STEP:
            await self._mark_seen(cookie)
        return WebSession(User(name, Role(role), bool(temporary)), cookie, _csrf(cookie))

    async def sign_out(self, cookie: str) -> None:
        """End this session; a cookie that opens none is no error."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM web_sessions WHERE cookie_hash = ?", (_hash(cookie),))
        )

    async def set_password(self, name: str, password: str, by: str, *, temporary: bool = False) -> None:
        """Set a password; ends the factory state and every session of that user. `admin` is made anew if it was
        removed. Raises `WeakPasswordError`, and LookupError when there is no such user."""
        stored = await self._hashed(password)

        def change(connection: sqlite3.Connection) -> None:
            if name == FACTORY_NAME:
                connection.execute(
                    "INSERT OR IGNORE INTO users VALUES (?, ?, 0, NULL)", (FACTORY_NAME, Role.ADMINISTRATOR.value)
                )
            changed = connection.execute(
                "UPDATE users SET password = ?, temporary = ? WHERE name = ?", (stored, temporary, storable(name))
            )
            if changed.rowcount == 0:
                raise LookupError(f"there is no user “{name}”")
            connection.execute("DELETE FROM web_sessions WHERE user = ?", (storable(name),))
            _end_factory(connection)
            self._audit(connection, by, f"password of {name}", "", "temporary" if temporary else "set")

        await self._database.write(change)

    async def check_password(self, name: str, password: str) -> bool:
        """Whether this is the user's password, for changes that ask again; guessing here is slowed down too, and
        while it is, the right one is refused."""
        key = (name.casefold(), "asked again")
        row = await self._database.read(lambda connection: _find(connection, name))
        matches = await self._compare(key, password, row) is True
        if matches:
            self._attempts.succeed(key)
        return matches

    async def users(self) -> tuple[User, ...]:
        """All users, by name."""
        rows = await self._database.read(
            lambda connection: connection.execute("SELECT name, role, temporary FROM users ORDER BY name").fetchall()
        )
        return tuple(User(name, Role(role), bool(temporary)) for name, role, temporary in rows)

    async def add_user(self, user: User, password: str, by: str) -> bool:
        """False when the name is taken, however it is written. Ends the factory state. Raises `WeakPasswordError`."""
        stored = await self._hashed(password)

        def add(connection: sqlite3.Connection) -> bool:
            if _find(connection, user.name) is not None:
                return False
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?)", (storable(user.name), user.role.value, user.temporary, stored)
            )
            _end_factory(connection)
            self._audit(connection, by, f"user {user.name}", "", user.role.value)
            return True

        return await self._database.write(add)

    async def remove_user(self, name: str, by: str) -> bool:
        """Remove a user and end their sessions; False when there is none, or nobody else is an administrator."""

        def remove(connection: sqlite3.Connection) -> bool:
            row = _find(connection, name)
            if row is None or _is_last_administrator(connection, row.user):
                return False
            connection.execute("DELETE FROM users WHERE name = ?", (storable(name),))
            self._audit(connection, by, f"user {row.user.name}", row.user.role.value, "")
            return True

        return await self._database.write(remove)

    async def set_role(self, name: str, role: Role, by: str) -> bool:
        """What a user may do from now on; ends their sessions. False when there is no such user, or nobody else would
        be an administrator."""

        def change(connection: sqlite3.Connection) -> bool:
            row = _find(connection, name)
            if row is None or (role is not Role.ADMINISTRATOR and _is_last_administrator(connection, row.user)):
                return False
            if role is not row.user.role:
                connection.execute("UPDATE users SET role = ? WHERE name = ?", (role.value, storable(name)))
                connection.execute("DELETE FROM web_sessions WHERE user = ?", (storable(name),))
                self._audit(connection, by, f"role of {row.user.name}", row.user.role.value, role.value)
            return True

        return await self._database.write(change)

    async def token(self, token: str) -> Token | None:
        """What is known of this token, None for one that was never given out or is revoked."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        found = await self._database.read(
            lambda connection: connection.execute(
                "SELECT label, role, created_at FROM tokens WHERE token_hash = ?", (_hash(token),)
            ).fetchone()
        )
        return _token(found) if found else None

    async def tokens(self) -> tuple[Token, ...]:
        """The tokens given out, oldest first."""
        rows = await self._database.read(
            lambda connection: connection.execute(
                "SELECT label, role, created_at FROM tokens ORDER BY created_at"
            ).fetchall()
        )
        return tuple(map(_token, rows))

    async def create_token(self, role: Role, label: str, by: str) -> str:
        """A new token, told once; ends the factory state. Tokens may share a label, and are then revoked together."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(32)

        def create(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO tokens VALUES (?, ?, ?, ?)",
                (_hash(token), storable(label), role.value, utc_text(self._clock.utc())),
            )
            _end_factory(connection)
            self._audit(connection, by, f"token {label}", "", role.value)

        await self._database.write(create)
        return token

    async def revoke_token(self, label: str, by: str) -> bool:
        """End every token with this label; False when there is none."""

        def revoke(connection: sqlite3.Connection) -> bool:
            if connection.execute("DELETE FROM tokens WHERE label = ?", (storable(label),)).rowcount == 0:
                return False
            self._audit(connection, by, f"token {label}", "valid", "revoked")
            return True

        return await self._database.write(revoke)

    async def _compare(self, key: tuple[str, str], password: str, row: _Row | None) -> bool | TryLater:
        """Whether the password is this user's. Between looking for a free turn and taking it nobody else runs."""
        now_ms = self._clock.monotonic_ms()
        if wait_s := self._attempts.wait_s(key, now_ms):
            return TryLater(wait_s)
        if self._scrypt.is_busy:
            return TryLater(1)
        self._attempts.begin(key, now_ms)
        return await self._scrypt.matches(password, row.password if row is not None else None)

    def _begin_session(self, connection: sqlite3.Connection, row: _Row, cookie: str) -> bool:
        if _find(connection, row.user.name) != row:
            return False
        now = self._clock.utc()
        oldest = (utc_text(now - LONGEST_SESSION), utc_text(now - IDLE))
        connection.execute("DELETE FROM web_sessions WHERE created_at < ? OR seen_at < ?", oldest)
        connection.execute(
            "INSERT INTO web_sessions VALUES (?, ?, ?, ?)",
            (_hash(cookie), row.user.name, utc_text(now), utc_text(now)),
        )
        return True

    async def _mark_seen(self, cookie: str) -> None:
        seen = (utc_text(self._clock.utc()), _hash(cookie))
        try:
            await self._database.write(
                lambda connection: connection.execute("UPDATE web_sessions SET seen_at = ? WHERE cookie_hash = ?", seen)
            )
        except StoreError as error:  # who is signed in may look at what is wrong with the disk
            log.warning("A session's last use was not stored: %s", error)

    async def _hashed(self, password: str) -> str:
        if broken := broken_rules(password):
            raise WeakPasswordError(broken)
        return await self._scrypt.hashed(password)

    def _audit(self, connection: sqlite3.Connection, by: str, what: str, old: str, new: str) -> None:
        append_audit(connection, AuditEntry(self._clock.utc(), by, what, old, new))


def is_near(address: str) -> bool:
    """A private or loopback address: only from there does the factory password open anything."""
    try:
        parsed: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_private and not parsed.is_unspecified


def _find(connection: sqlite3.Connection, name: str) -> _Row | None:
    found = connection.execute(
        "SELECT name, role, temporary, password FROM users WHERE name = ?", (storable(name),)
    ).fetchone()
    if found is None:
        return None
    stored_name, role, temporary, password = found
    return _Row(User(stored_name, Role(role), bool(temporary)), password, _is_factory(connection))


def _token(row: tuple[str, str, str]) -> Token:
    label, role, created_at = row
    return Token(label, Role(role), datetime.fromisoformat(created_at))


def _is_last_administrator(connection: sqlite3.Connection, user: User) -> bool:
    others = connection.execute(
        "SELECT count(*) FROM users WHERE role = ? AND name <> ?", (Role.ADMINISTRATOR.value, storable(user.name))
    ).fetchone()
    return user.role is Role.ADMINISTRATOR and others == (0,)


def _is_factory(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT value FROM facts WHERE name = 'factory'").fetchone()[0])


def _end_factory(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE facts SET value = 0 WHERE name = 'factory'")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _csrf(cookie: str) -> str:
    return _hash(f"csrf of {cookie}")


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())
