"""What the commands on a data directory do (`data_cli` declares them), beside a running server or without one.

What a server holds in memory is changed through its control socket; where none runs, the command takes the lock. Users
and tokens live in the database alone, so those commands write there whoever else is at work.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.backup import UnfitBackup, back_up, erase, restore
from llm_adapters.sqlite.database import FILE_NAME, Database
from llm_adapters.sqlite.store import SqliteStore
from llm_adapters.web.api.configuration import Configuration, write_configuration
from llm_adapters.web.api.views import session_json
from llm_app.changing import Changes, Resting, read_configuration_text, refuse_oversized
from llm_app.clock import SystemClock
from llm_app.control_socket import NAME as SOCKET_NAME
from llm_app.control_socket import through_server
from llm_app.faults import Failure, WrongInput
from llm_app.support import ERASED, write_bundle
from llm_app.wiring import locked
from llm_core import Now, PasswordRule, Role, State, StoreError, User, broken_rules, recover

T = TypeVar("T")
BY = "command line"
RULES = {
    PasswordRule.CAPITAL: "a capital letter",
    PasswordRule.LOWER_CASE: "a lower case letter",
    PasswordRule.NUMBER: "a number",
    PasswordRule.LENGTH: "at least 8 characters",
    PasswordRule.SYMBOL: "a symbol",
}
LONGEST_NAME = 64
MOST_BYTES = 10 * 1024**2
YEARS = range(1971, 9_000)  # sessions lie in them, and a time zone's offset leads out of no calendar


@asynccontextmanager
async def _open(data: Path) -> AsyncIterator[Database]:
    try:
        database = await Database.open(data, SystemClock(), repair=False)
    except StoreError as error:
        if isinstance(error.__cause__, FileExistsError | NotADirectoryError):
            raise WrongInput(f"{data} is no directory") from error
        raise Failure(f"cannot open the database in {data}: {error}") from error
    try:
        yield database
    except StoreError as error:
        raise Failure(f"the database in {data} does not answer: {error}") from error
    finally:
        await database.close()


def _with_database(data: Path, work: Callable[[Database], Coroutine[Any, Any, T]]) -> T:
    async def inside() -> T:
        async with _open(data) as database:
            return await work(database)

    return asyncio.run(inside())


def _with_accounts(data: Path, work: Callable[[SqliteAccounts], Coroutine[Any, Any, T]]) -> T:
    return _with_database(data, lambda database: work(SqliteAccounts(database)))


def _changed(
    data: Path, command: str, content: bytes, work: Callable[[Changes], Coroutine[Any, Any, str]], *, dry_run: bool
) -> str:
    """Have a change made by the server that runs on this data, or make it where none runs."""
    answer = through_server(data, command, content, dry_run=dry_run)
    if answer is not None:
        return answer

    async def alone(database: Database) -> str:
        store, accounts = SqliteStore(database), SqliteAccounts(database)
        return await work(Changes(await Resting.of(store, accounts, SystemClock()), accounts, Catalogue(data)))

    with locked(data):
        return _with_database(data, alone)


def _existing(data: Path) -> Path:
    """A command that makes nothing new makes no directory where its name was mistyped."""
    if not data.is_dir():
        raise WrongInput(f"there is no directory {data}")
    return data


def _database_in(data: Path) -> Path:
    database = _existing(data) / FILE_NAME
    if not database.exists():
        raise Failure(f"there is no database in {data}")
    return database


def _target(data: Path, output: Path | None, name: str, suffix: str) -> Path:
    """The file to write: as asked for, or named after this second; nothing that a server lives in."""
    if output is None:
        return Path(f"{name}-{SystemClock().utc():%Y%m%dT%H%M%SZ}.{suffix}")
    if output.is_dir():
        raise WrongInput(f"{output} is a directory: name a file in it")
    if output.resolve().parent == data.resolve() and output.name.startswith(FILE_NAME):
        raise WrongInput(f"{output} is the database itself: name another file")
    return output


def read_file(file: Path) -> bytes:
    _refuse_unreadable(file)
    return file.read_bytes()


def _refuse_unreadable(file: Path) -> None:
    try:
        with file.open("rb"):
            return
    except OSError as error:
        raise WrongInput(f"cannot read {file}: {error.strerror}") from error


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")


def _tell_json(value: object) -> None:
    _tell(json.dumps(value, indent=2, ensure_ascii=False))


# Users and tokens


def _new_password(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    else:
        raise WrongInput("no terminal to ask for a password: give it with --password-stdin")
    missing = [RULES[rule] for rule in broken_rules(password)]
    if missing:
        raise WrongInput(f"the password needs {', '.join(missing)}")
    return password


def reset_password(name: str, data: Path, password_stdin: bool) -> None:
    password = _new_password(password_stdin)

    async def work(accounts: SqliteAccounts) -> None:
        if name != "admin" and name.casefold() not in {user.name.casefold() for user in await accounts.users()}:
            raise WrongInput(f"there is no user “{name}”")
        await accounts.set_password(name, password, by=BY)

    _with_accounts(data, work)


def add_user(name: str, data: Path, role: str, password_stdin: bool) -> None:
    _refuse_unfit_name(name, "a name")
    password = _new_password(password_stdin)
    user = User(name, Role(role), temporary=True)
    if not _with_accounts(data, lambda accounts: accounts.add_user(user, password, by=BY)):
        raise WrongInput(f"there is already a user “{name}”")


def _refuse_unfit_name(name: str, what: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise WrongInput(f"{what} has 1 to {LONGEST_NAME} characters that can be shown, without blanks around")


def list_users(data: Path, as_json: bool) -> None:
    users = _with_accounts(_existing(data), lambda accounts: accounts.users())
    if as_json:
        _tell_json([{"name": user.name, "role": user.role.value, "temporary": user.temporary} for user in users])
        return
    for user in users:
        _tell("\t".join([user.name, user.role.value, *(["temporary"] if user.temporary else [])]))


def create_token(data: Path, role: str, label: str) -> None:
    _refuse_unfit_name(label, "a label")
    _tell(_with_accounts(data, lambda accounts: accounts.create_token(Role(role), label, by=BY)))


def list_tokens(data: Path, as_json: bool) -> None:
    tokens = _with_accounts(_existing(data), lambda accounts: accounts.tokens())
    if as_json:
        made = [(token.label, token.role.value, f"{token.created_at:%Y-%m-%dT%H:%M:%SZ}") for token in tokens]
        _tell_json([{"label": label, "role": role, "created_at": at} for label, role, at in made])
        return
    for token in tokens:
        _tell(f"{token.label}\t{token.role.value}\t{token.created_at:%Y-%m-%d}")


def revoke_token(label: str, data: Path) -> None:
    if not _with_accounts(_existing(data), lambda accounts: accounts.revoke_token(label, by=BY)):
        raise WrongInput(f"there is no token “{label}”")


# Configuration and badges


def export_configuration(data: Path) -> None:
    async def work(database: Database) -> str:
        state = await _stored_state(database)
        users = await SqliteAccounts(database).users()
        document = write_configuration(Configuration.of(state.site, tuple(state.badges.values()), users))
        return json.dumps(document, indent=2, ensure_ascii=False)

    _tell(_with_database(_existing(data), work))


def import_configuration(file: Path, data: Path) -> None:
    text = read_file(file)
    if len(text) > MOST_BYTES:
        raise WrongInput(f"{file} is larger than {MOST_BYTES // 1024**2} MiB")
    left_out = _changed(
        data, "import configuration", text, lambda changes: changes.import_configuration(text), dry_run=False
    )
    if left_out:
        sys.stderr.write(f"llm-app: {left_out}\n")


def check_configuration(file: Path) -> None:
    read_configuration_text(read_file(file), meter_models=Catalogue())


def import_badges(file: Path, data: Path, dry_run: bool) -> None:
    content = read_file(file)
    refuse_oversized(content)
    _tell(
        _changed(
            data,
            "import badges",
            content,
            lambda changes: changes.import_badges(content, dry_run=dry_run),
            dry_run=dry_run,
        )
    )


# Sessions


def export_sessions(data: Path, first: str, last: str, decimal: str, as_json: bool) -> None:
    start, end = _day(first, "--from"), _day(last, "--to")
    if end < start:
        raise WrongInput("--to lies before --from")
    if end > _year_after(start):
        raise WrongInput("the period is longer than one year")
    if decimal not in ("point", "comma"):
        raise WrongInput("--decimal must be point or comma")
    asyncio.run(_export(_existing(data), start, end, decimal_comma=decimal == "comma", as_json=as_json))


def _year_after(first: date) -> date:
    """The last day of the year that begins with `first`."""
    try:
        return first.replace(year=first.year + 1) - timedelta(days=1)
    except ValueError:  # 29 February
        return date(first.year + 1, 2, 28)


async def _export(data: Path, start: date, end: date, *, decimal_comma: bool, as_json: bool) -> None:
    async with _open(data) as database:
        store, state = SqliteStore(database), await _stored_state(database)
        zone = ZoneInfo(state.site.system.time_zone)
        from_utc = datetime.combine(start, time(), zone)
        to_utc = datetime.combine(end + timedelta(days=1), time(), zone)
        sessions = store.sessions(from_utc, to_utc)
        if not as_json:
            async for chunk in write_sessions(sessions, state, decimal_comma=decimal_comma):
                sys.stdout.write(chunk)
            return
        before = "[\n"
        async for session in sessions:
            sys.stdout.write(before + json.dumps(session_json(session, state)))
            before = ",\n"
        sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")


async def _stored_state(database: Database) -> State:
    clock = SystemClock()
    stored = await SqliteStore(database).load()
    state, _ = recover(stored, Now(clock.monotonic_ms(), clock.utc()), factory=False)
    return state


def _day(text: str, option: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise WrongInput(f"{option}: “{text}” is no day; write it as 2026-01-31") from error
    if day.year not in YEARS:
        raise WrongInput(f"{option}: “{text}” is not between {YEARS[0]} and {YEARS[-1]}")
    return day


# The whole of it


def back_up_data(data: Path, output: Path | None) -> None:
    database = _database_in(data)
    target = _target(data, output, "llm-backup", "db")
    try:
        back_up(database, target)
    except StoreError as error:
        raise Failure(f"no backup was made: {error}") from error
    _tell(str(target))


def restore_data(file: Path, data: Path) -> None:
    with locked(data):
        _refuse_unreadable(file)
        try:
            aside = restore(file, data / FILE_NAME, SystemClock().utc())
        except UnfitBackup as error:
            raise WrongInput(str(error)) from error
        except StoreError as error:
            raise Failure(str(error)) from error
    _tell(f"restored; what was there before is {aside}" if aside is not None else "restored")


def reset_to_factory(data: Path, yes: bool) -> None:
    if not yes:
        raise WrongInput("this erases everything that is stored; say --yes if that is meant")
    with locked(_existing(data)):
        try:
            erase(data, (FILE_NAME, SOCKET_NAME, *ERASED))
        except OSError as error:
            raise Failure(f"not everything could be erased: {error}") from error
    _tell("erased: the controller is as it was delivered")


def support_bundle(data: Path, output: Path | None) -> None:
    _database_in(data)
    target = _target(data, output, "llm-support", "zip")
    try:
        _with_database(data, lambda database: write_bundle(target, data, database))
    except OSError as error:
        raise Failure(f"cannot write {target}: {error.strerror}") from error
    _tell(str(target))
