"""Nobody gets in who should not, nobody is kept out for ever, and no secret lies about. On a real database."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from llm_adapters.sqlite import Database, SqliteAccounts, WeakPasswordError
from llm_adapters.sqlite.attempts import Attempts
from llm_core import PasswordRule, Role, StoreError, TryLater, User, WebSession, WrongPassword

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD, BETTER = "Correct-1", "Correcter-2"
NEAR, FAR = "192.168.1.20", "203.0.113.9"


class HandClock:
    def __init__(self) -> None:
        self.passed = timedelta()
        self.utc_step = timedelta()

    def monotonic_ms(self) -> int:
        return int(self.passed.total_seconds() * 1000)

    def utc(self) -> datetime:
        return NOON + self.passed + self.utc_step


@asynccontextmanager
async def opened(directory: Path, clock: HandClock | None = None) -> AsyncIterator[SqliteAccounts]:
    database = await Database.open(directory, clock or HandClock())
    try:
        yield SqliteAccounts(database)
    finally:
        await database.close()


Scenario = Callable[[], Coroutine[Any, Any, None]]


def run(scenario: Scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))


async def sign_in(accounts: SqliteAccounts, password: str = GOOD, name: str = "admin") -> WebSession:
    session = await accounts.sign_in(name, password, NEAR)
    assert isinstance(session, WebSession)
    return session


def audit(directory: Path) -> list[tuple[str, str, str, str]]:
    connection = sqlite3.connect(directory / "llm.db")
    rows = connection.execute("SELECT by, what, old, new FROM audit ORDER BY id").fetchall()
    connection.close()
    return rows


def everything_stored(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(directory.glob("llm.db*")))


def test_the_factory_password_opens_nothing_but_the_choice_of_another(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            assert await accounts.is_factory()
            session = await sign_in(accounts, "1234")
            assert session.user == User("admin", Role.ADMINISTRATOR, temporary=True)
            assert not await accounts.check_password("admin", "1234")

    run(scenario)


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8", "0.0.0.0", "", "printer"])
def test_the_factory_password_opens_nothing_from_afar(tmp_path: Path, address: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            assert await accounts.sign_in("admin", "1234", address) == WrongPassword()

    run(scenario)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "fe80::1%eth0", "::ffff:192.168.0.7"])
def test_the_factory_password_opens_from_the_own_network(tmp_path: Path, address: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            assert isinstance(await accounts.sign_in("admin", "1234", address), WebSession)

    run(scenario)


async def by_password(accounts: SqliteAccounts) -> None:
    await accounts.set_password("admin", GOOD, "admin")


async def by_token(accounts: SqliteAccounts) -> None:
    await accounts.create_token(Role.STANDARD, "script", "console")


async def by_user(accounts: SqliteAccounts) -> None:
    await accounts.add_user(User("eve", Role.STANDARD), GOOD, "console")


@pytest.mark.parametrize("end", [by_password, by_token, by_user])
def test_the_factory_state_ends_once_and_1234_never_works_again(
    tmp_path: Path, end: Callable[[SqliteAccounts], Coroutine[Any, Any, None]]
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            session = await sign_in(accounts, "1234")
            await end(accounts)
            assert not await accounts.is_factory()
            assert await accounts.sign_in("admin", "1234", NEAR) == WrongPassword()
            if end is by_password:
                assert await accounts.web_session(session.cookie) is None
        async with opened(tmp_path) as accounts:
            assert not await accounts.is_factory()
            assert await accounts.sign_in("admin", "1234", NEAR) == WrongPassword()
            with pytest.raises(WeakPasswordError):
                await accounts.set_password("admin", "1234", "console")
            await accounts.set_password("admin", BETTER, "console")
            assert await accounts.sign_in("admin", "1234", NEAR) == WrongPassword()
            await sign_in(accounts, BETTER)

    run(scenario)


def test_a_first_password_that_the_disk_refuses_leaves_the_factory_state_whole(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            refuse_audit = "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'disk full'); END"
            change(tmp_path, refuse_audit)
            with pytest.raises(StoreError):
                await accounts.set_password("admin", GOOD, "admin")
            assert await accounts.is_factory()
            change(tmp_path, "DROP TRIGGER full")
            await sign_in(accounts, "1234")

    run(scenario)


def change(directory: Path, statement: str) -> None:
    connection = sqlite3.connect(directory / "llm.db")
    with connection:
        connection.execute(statement)
    connection.close()


def test_a_weak_password_is_refused_with_every_rule_it_breaks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            with pytest.raises(WeakPasswordError) as refused:
                await accounts.set_password("admin", "abc", "admin")
            assert set(refused.value.broken) == set(PasswordRule) - {PasswordRule.LOWER_CASE}
            with pytest.raises(WeakPasswordError):
                await accounts.add_user(User("eve", Role.STANDARD), "abc", "admin")
            assert await accounts.is_factory()

    run(scenario)


def test_a_session_opens_until_it_is_signed_out_and_every_sign_in_gives_a_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            first, second = await sign_in(accounts), await sign_in(accounts)
            assert len({first.cookie, second.cookie, first.csrf, second.csrf}) == 4
            assert await accounts.web_session(first.cookie) == first
            await accounts.sign_out(first.cookie)
            assert await accounts.web_session(first.cookie) is None
            assert await accounts.web_session(second.cookie) == second
            assert await accounts.web_session("forged\ud800") is None

    run(scenario)


def test_sessions_survive_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            session = await sign_in(accounts)
        async with opened(tmp_path) as accounts:
            assert await accounts.web_session(session.cookie) == session

    run(scenario)


@pytest.mark.parametrize(
    ("step", "times", "lives"),
    [
        (timedelta(hours=11, minutes=45), 1, True),
        (timedelta(hours=12), 1, False),
        (timedelta(hours=11), 15, True),
        (timedelta(hours=11), 16, False),
    ],
)
def test_a_session_ends_after_twelve_idle_hours_and_after_seven_days(
    tmp_path: Path, step: timedelta, times: int, lives: bool
) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with opened(tmp_path, clock) as accounts:
            await by_password(accounts)
            session = await sign_in(accounts)
            for _ in range(times):
                clock.passed += step
                found = await accounts.web_session(session.cookie)
            assert (found is not None) is lives

    run(scenario)


def test_a_clock_that_is_set_back_by_days_prolongs_no_session(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with opened(tmp_path, clock) as accounts:
            await by_password(accounts)
            session = await sign_in(accounts)
            clock.utc_step = -timedelta(seconds=2)
            assert await accounts.web_session(session.cookie) is not None
            clock.utc_step = -timedelta(days=1)
            assert await accounts.web_session(session.cookie) is None

    run(scenario)


def test_a_new_password_ends_every_session_of_that_user_and_of_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            await by_user(accounts)
            mine, yours = await sign_in(accounts), await sign_in(accounts, name="eve")
            await accounts.set_password("admin", BETTER, "admin")
            assert await accounts.web_session(mine.cookie) is None
            assert await accounts.web_session(yours.cookie) == yours
            assert await accounts.sign_in("admin", GOOD, NEAR) == WrongPassword()

    run(scenario)


def test_a_password_that_changes_while_the_old_one_is_compared_opens_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts, opened(tmp_path) as elsewhere:
            await by_password(accounts)
            outcome, _ = await asyncio.gather(
                accounts.sign_in("admin", GOOD, NEAR), elsewhere.set_password("admin", BETTER, "console")
            )
            if isinstance(outcome, WebSession):
                assert await accounts.web_session(outcome.cookie) is None
            else:
                assert outcome == WrongPassword()

    run(scenario)


def test_a_user_is_added_once_however_the_name_is_written_and_a_temporary_password_shows(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            assert await accounts.add_user(User("Eve", Role.ADVANCED, temporary=True), GOOD, "admin")
            assert not await accounts.add_user(User("eve", Role.STANDARD), BETTER, "admin")
            assert await accounts.users() == (
                User("admin", Role.ADMINISTRATOR),
                User("Eve", Role.ADVANCED, temporary=True),
            )
            session = await sign_in(accounts, name="EVE")
            assert session.user == User("Eve", Role.ADVANCED, temporary=True)

    run(scenario)


def test_a_removed_user_is_out_at_once_and_the_last_administrator_stays(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            await by_user(accounts)
            session = await sign_in(accounts, name="eve")
            assert await accounts.remove_user("eve", "admin")
            assert await accounts.web_session(session.cookie) is None
            assert await accounts.sign_in("eve", GOOD, NEAR) == WrongPassword()
            assert not await accounts.remove_user("eve", "admin")
            assert not await accounts.remove_user("admin", "admin")

    run(scenario)


def test_the_console_brings_back_an_administrator_that_was_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await accounts.add_user(User("boss", Role.ADMINISTRATOR), GOOD, "console")
            assert await accounts.remove_user("admin", "boss")
            await accounts.set_password("admin", GOOD, "console")
            assert (await sign_in(accounts)).user == User("admin", Role.ADMINISTRATOR)
            with pytest.raises(LookupError):
                await accounts.set_password("nobody", GOOD, "console")

    run(scenario)


def test_a_token_opens_until_it_is_revoked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            token = await accounts.create_token(Role.ADVANCED, "script", "console")
            assert token.startswith("llm_")
            known = await accounts.token(token)
            assert known is not None
            assert (known.label, known.role) == ("script", Role.ADVANCED)
            assert await accounts.token(token[:-1]) is None
            assert await accounts.token("llm_\ud800") is None
            assert [(listed.label, listed.role) for listed in await accounts.tokens()] == [("script", Role.ADVANCED)]
            assert await accounts.revoke_token("script", "console")
            assert await accounts.token(token) is None
            assert not await accounts.revoke_token("script", "console")

    run(scenario)


def test_a_guesser_waits_longer_each_time_and_somebody_elsewhere_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with opened(tmp_path, clock) as accounts:
            await by_password(accounts)
            outcomes = [await accounts.sign_in("admin", "wrong", FAR) for _ in range(7)]
            assert outcomes == [WrongPassword()] * 5 + [TryLater(2)] * 2
            assert await accounts.sign_in("ADMIN", GOOD, FAR) == TryLater(2)
            await sign_in(accounts)
            clock.passed += timedelta(seconds=2)
            assert await accounts.sign_in("admin", "wrong", FAR) == WrongPassword()
            assert await accounts.sign_in("admin", GOOD, FAR) == TryLater(4)
            clock.passed += timedelta(seconds=4)
            assert isinstance(await accounts.sign_in("admin", GOOD, FAR), WebSession)
            assert await accounts.sign_in("admin", "wrong", FAR) == WrongPassword()

    run(scenario)


def test_a_hundred_guesses_at_once_are_not_a_hundred_free_ones(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            outcomes = await asyncio.gather(*(accounts.sign_in("admin", "wrong", FAR) for _ in range(100)))
            assert outcomes.count(WrongPassword()) == 5

    run(scenario)


def test_a_crowd_of_unknown_names_is_turned_away_instead_of_queueing_for_minutes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            outcomes = await asyncio.gather(*(accounts.sign_in(f"guess{n}", "wrong", FAR) for n in range(40)))
            assert outcomes.count(TryLater(1)) == 24
            await sign_in(accounts)

    run(scenario)


def test_nobody_is_locked_out_for_ever() -> None:
    attempts, key, now_ms = Attempts(), ("admin", FAR), 0
    for _ in range(10_000):
        now_ms += 1_000 * attempts.wait_s(key, now_ms)
        attempts.begin(key, now_ms)
        assert attempts.wait_s(key, now_ms) <= 300


def test_the_memory_of_guessers_is_bounded() -> None:
    attempts = Attempts()
    for number in range(20_000):
        attempts.begin((f"name{number}", FAR), number)
    assert len(attempts._failed) == 10_000


def test_asking_for_the_password_again_is_slowed_down_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = HandClock()
        async with opened(tmp_path, clock) as accounts:
            await by_password(accounts)
            assert await accounts.check_password("admin", GOOD)
            for _ in range(5):
                assert not await accounts.check_password("admin", "wrong")
            assert not await accounts.check_password("admin", GOOD)
            clock.passed += timedelta(seconds=2)
            assert await accounts.check_password("admin", GOOD)
            await sign_in(accounts)

    run(scenario)


def test_no_secret_lies_in_the_files_and_none_in_the_audit_trail(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            await accounts.add_user(User("eve", Role.STANDARD), BETTER, "admin")
            token = await accounts.create_token(Role.STANDARD, "script", "admin")
            session = await sign_in(accounts)
            await accounts.revoke_token("script", "admin")
            await accounts.remove_user("eve", "admin")
            stored = everything_stored(tmp_path)
            for secret in (GOOD, BETTER, token, session.cookie, session.csrf, "1234\0"):
                assert secret.encode() not in stored
            assert audit(tmp_path) == [
                ("admin", "password of admin", "", "set"),
                ("admin", "user eve", "", "standard"),
                ("admin", "token script", "", "standard"),
                ("admin", "token script", "valid", "revoked"),
                ("admin", "user eve", "standard", ""),
            ]

    run(scenario)


def test_two_users_with_one_password_have_different_hashes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as accounts:
            await by_password(accounts)
            await by_user(accounts)
        connection = sqlite3.connect(tmp_path / "llm.db")
        hashes = [row[0] for row in connection.execute("SELECT password FROM users")]
        connection.close()
        assert len(set(hashes)) == 2
        assert all(stored.startswith("scrypt:32768:8:1:") for stored in hashes)

    run(scenario)


def test_a_command_beside_the_server_counts_at_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as server, opened(tmp_path) as command:
            assert await server.is_factory()
            token = await command.create_token(Role.ADMINISTRATOR, "console", "console")
            assert not await server.is_factory()
            known = await server.token(token)
            assert known is not None
            assert known.role is Role.ADMINISTRATOR

    run(scenario)
