"""The command line: reads arguments, calls the wiring, prints. Exit codes: 0 done, 1 failed, 2 wrong usage or input."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tomllib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from llm_adapters.files.problems import solve_text
from llm_adapters.files.sessions_csv import write_sessions
from llm_adapters.sqlite.accounts import SqliteAccounts
from llm_adapters.sqlite.database import Database
from llm_adapters.sqlite.store import SqliteStore
from llm_app import configuring
from llm_app.clock import SystemClock
from llm_app.doors import TlsFiles
from llm_app.faults import Failure, WrongInput
from llm_app.wiring import Address, Options, locked, serving
from llm_core import (
    Now,
    PasswordRule,
    ProblemError,
    Role,
    StoreError,
    User,
    broken_rules,
    recover,
)

app = typer.Typer(
    name="llm-app",
    help="The Local Load Manager: shares the current a building has left over its charging stations.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
sessions_app = typer.Typer(help="Charging sessions.", no_args_is_help=True)
user_app = typer.Typer(help="Users.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration as a file.", no_args_is_help=True)
badges_app = typer.Typer(help="Badges.", no_args_is_help=True)
token_app = typer.Typer(help="API tokens.", no_args_is_help=True)
app.add_typer(sessions_app, name="sessions")
app.add_typer(user_app, name="user")
app.add_typer(token_app, name="token")
app.add_typer(config_app, name="config")
app.add_typer(badges_app, name="badges")

T = TypeVar("T")
Data = Annotated[Path, typer.Option("--data", help="The data directory.")]
RULES = {
    PasswordRule.CAPITAL: "a capital letter",
    PasswordRule.LOWER_CASE: "a lower case letter",
    PasswordRule.NUMBER: "a number",
    PasswordRule.LENGTH: "at least 8 characters",
    PasswordRule.SYMBOL: "a symbol",
}
CONFIG_KEYS = {
    "http": str,
    "https": bool,
    "ocpp": str,
    "ocpp_tls": str,
    "tls_cert": str,
    "tls_key": str,
    "tls_client_ca": str,
    "log": str,
    "allowed_hosts": list,
}
KINDS = {str: "a text", bool: "true or false", list: "a list of names"}


def main() -> None:
    """The entry point: every fault of the user ends as one readable line and the right exit code."""
    os.umask(0o077)  # what is kept holds badges and hashes: nobody else on this machine reads it
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        code = app(arguments, standalone_mode=False)
    except WrongInput as error:
        return _say(str(error), 2)
    except Failure as error:
        return _say(str(error), 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has left
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # what typer says of wrong usage
            return _say(error.format_message(), 2)
        raise
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    sys.stderr.write("".join(f"llm-app: {line}\n" for line in text.splitlines() or [""]))
    return code


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if show_version:
        sys.stdout.write(version("local-load-manager") + "\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise WrongInput("say what to do: llm-app --help lists the commands")


# The server


@app.command()
def server(
    data: Data,
    http: Annotated[str | None, typer.Option(help="HOST:PORT of pages and API. [default: 0.0.0.0:8080]")] = None,
    ocpp: Annotated[str | None, typer.Option(help="HOST:PORT for stations. [default: 0.0.0.0:9000]")] = None,
    ocpp_tls: Annotated[str | None, typer.Option(help="HOST:PORT for stations over TLS. [default: none]")] = None,
    config: Annotated[Path | None, typer.Option(help=f"A TOML file with {', '.join(CONFIG_KEYS)}.")] = None,
) -> None:
    """Run the controller until it is told to stop."""
    settings = _settings(config)
    for name, given in (("http", http), ("ocpp", ocpp), ("ocpp_tls", ocpp_tls)):
        if given is not None and name in settings:
            raise WrongInput(f"{name} is given twice: on the command line and in {config}")
    encrypted = ocpp_tls or settings.get("ocpp_tls")
    options = Options(
        data=data,
        http=_address(http or str(settings.get("http", "0.0.0.0:8080")), "--http"),
        ocpp=_address(ocpp or str(settings.get("ocpp", "0.0.0.0:9000")), "--ocpp"),
        allowed_hosts=frozenset(str(name) for name in settings.get("allowed_hosts", [])),
        ocpp_tls=_address(str(encrypted), "--ocpp-tls") if encrypted is not None else None,
        tls=_own_certificates(settings, config),
        https=bool(settings.get("https", False)),
    )
    _log(str(settings.get("log", "info")))
    asyncio.run(_serve(options))


async def _serve(options: Options) -> None:
    async with serving(options) as running:
        scheme = "https" if options.https else "http"
        encrypted = f" and wss://{running.ocpp_tls}/ocpp/<station id>" if running.ocpp_tls is not None else ""
        sys.stdout.write(
            f"Pages on {scheme}://{running.http}, stations on ws://{running.ocpp}/ocpp/<station id>{encrypted}\n"
        )
        sys.stdout.flush()
        await until_stopped()


async def until_stopped() -> None:
    """Return at the first SIGTERM or SIGINT."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


@app.command()
def demo(
    stations: Annotated[int, typer.Option(min=1, max=100, help="How many virtual stations.")] = 8,
    seed: Annotated[int, typer.Option(help="The seed of everything that happens by chance.")] = 1,
    http: Annotated[str, typer.Option(help="HOST:PORT of pages and API.")] = "127.0.0.1:8080",
    ocpp: Annotated[str, typer.Option(help="HOST:PORT for stations.")] = "127.0.0.1:9000",
    data: Annotated[Path | None, typer.Option(help="Keep the data here instead of in a new folder.")] = None,
) -> None:
    """Run the complete product with a virtual building, meter, stations and cars, in real time, until Ctrl-C."""
    from llm_app.demo import run_demo  # pays for the plant only where it is used

    _log("warning")
    asyncio.run(run_demo(stations, seed, _address(http, "--http"), _address(ocpp, "--ocpp"), data, until_stopped))


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WrongInput(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongInput(f"{path} is not valid TOML: {error}") from error
    faults = [f"{path}: unknown key “{key}”" for key in settings if key not in CONFIG_KEYS]
    faults += [
        f"{path}: “{key}” must be {KINDS[kind]}"
        for key, kind in CONFIG_KEYS.items()
        if key in settings and not isinstance(settings[key], kind)
    ]
    if faults:
        raise WrongInput("\n".join(faults))
    return settings


def _own_certificates(settings: dict[str, Any], config: Path | None) -> TlsFiles | None:
    """The installer's files, beside the TOML file where they are not named from the root; both or none."""
    names = ("tls_cert", "tls_key", "tls_client_ca")
    if config is None or not any(name in settings for name in names):
        return None
    if not ("tls_cert" in settings and "tls_key" in settings):
        raise WrongInput(f"{config}: tls_cert and tls_key belong together")
    client_ca = config.parent / str(settings["tls_client_ca"]) if "tls_client_ca" in settings else None
    return TlsFiles(config.parent / str(settings["tls_cert"]), config.parent / str(settings["tls_key"]), client_ca)


def _address(text: str, option: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise WrongInput(f"{option}: {error}") from error


def _log(level: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise WrongInput(f"log: “{level}” is no level; debug, info, warning or error")
    logging.basicConfig(level=number, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # a silent meter is told once, by the adapter
    logging.getLogger("websockets").setLevel(logging.CRITICAL)


# Planning


@app.command()
def allocate(
    problem: Annotated[str, typer.Argument(help="A file with a problem or an array of them; - is stdin.")],
) -> None:
    """Solve an allocation problem and print the grants with their reasons, as JSON."""
    try:
        text = sys.stdin.read() if problem == "-" else Path(problem).read_text(encoding="utf-8")
    except OSError as error:
        raise WrongInput(f"cannot read {problem}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongInput(f"{problem} is not UTF-8 text") from error
    try:
        answer = solve_text(text)
    except ProblemError as error:
        raise WrongInput("\n".join(str(fault) for fault in error.faults)) from error
    sys.stdout.write(answer + "\n")


@app.command()
def simulate(
    scenario: Annotated[Path | None, typer.Argument(help="A story to play, as TOML.", show_default=False)] = None,
    sessions: Annotated[Path | None, typer.Option(help="Replay recorded sessions: CSV, also .gz.")] = None,
    stations: Annotated[int | None, typer.Option(min=1, max=2000, help="How many stations. [default: 8]")] = None,
    hours: Annotated[float | None, typer.Option(min=0.01, max=10_000, help="Simulated time. [default: 1]")] = None,
    seed: Annotated[int | None, typer.Option(help="The seed: the same seed gives the same run. [default: 1]")] = None,
    supply_a: Annotated[
        list[float] | None,
        typer.Option(min=6, help="The protection, A per phase [default: 63]; several compare supplies for --sessions."),
    ] = None,
    tick: Annotated[int | None, typer.Option(min=1, max=60, help="Seconds between ticks of --sessions.")] = None,
    energy: Annotated[str, typer.Option(help="What a recorded car wants: requested or delivered.")] = "requested",
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture: FILE.svg or FILE.png.")] = None,
) -> None:
    """Run the controller in virtual time: a made-up site, a story told by a file, or recorded sessions."""
    from llm_app.simulate_command import Asked, run_simulation

    if energy not in ("requested", "delivered"):
        raise WrongInput("--energy must be requested or delivered")
    _log("error")
    asked = Asked(scenario, sessions, stations, hours, seed, supply_a or (), tick, energy, plot, json_output)
    text, held = run_simulation(asked)
    sys.stdout.write(text + "\n")
    if not held:
        raise Failure("not everything that was expected held")


@app.command("replay")
def replay_journal(
    journal: Annotated[Path, typer.Argument(help="A journal, or the data directory that holds it.")],
    until: Annotated[str | None, typer.Option(help="Stop at this instant, UTC unless it says otherwise.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Run a journal again and tell every limit, why, and whether the outcome is the recorded one."""
    from llm_app.replay import instant, lines_of, replay

    for line in lines_of(replay(journal, instant(until) if until else None), as_json=json_output):
        sys.stdout.write(line + "\n")


# The data directory, with the server running or not


@asynccontextmanager
async def _open(data: Path) -> AsyncIterator[Database]:
    try:
        database = await Database.open(data, SystemClock(), repair=False)
    except StoreError as error:
        raise Failure(f"cannot open the database in {data}: {error}") from error
    try:
        yield database
    except StoreError as error:
        raise Failure(f"the database in {data} does not answer: {error}") from error
    finally:
        await database.close()


def _with_accounts(data: Path, work: Callable[[SqliteAccounts], Coroutine[Any, Any, T]]) -> T:
    async def inside() -> T:
        async with _open(data) as database:
            return await work(SqliteAccounts(database))

    return asyncio.run(inside())


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


PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


@user_app.command("reset-password")
def reset_password(name: str, data: Data, password_stdin: PasswordStdin = False) -> None:
    """Set a user's password; ends the factory state. Who has a shell on the controller is trusted."""
    password = _new_password(password_stdin)

    async def work(accounts: SqliteAccounts) -> None:
        if name != "admin" and name not in {user.name for user in await accounts.users()}:
            raise WrongInput(f"there is no user “{name}”")
        await accounts.set_password(name, password, by="command line")

    _with_accounts(data, work)


@user_app.command("add")
def add_user(
    name: str,
    data: Data,
    role: Annotated[Role, typer.Option(help="What the user may do.")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Add a user with a temporary password, to be changed at the first login."""
    password = _new_password(password_stdin)
    user = User(name, role, temporary=True)
    if not _with_accounts(data, lambda accounts: accounts.add_user(user, password, by="command line")):
        raise WrongInput(f"there is already a user “{name}”")


@user_app.command("list")
def list_users(data: Data) -> None:
    """One line per user: name, role, and whether the password is temporary."""
    for user in _with_accounts(data, lambda accounts: accounts.users()):
        sys.stdout.write("\t".join([user.name, user.role.value, *(["temporary"] if user.temporary else [])]) + "\n")


@token_app.command("create")
def create_token(
    data: Data,
    role: Annotated[Role, typer.Option(help="What the token may do.")],
    label: Annotated[str, typer.Option(help="What it is for; revoke it by this name.")] = "command line",
) -> None:
    """Create an API token and print it, alone: it is shown once."""
    token = _with_accounts(data, lambda accounts: accounts.create_token(role, label, by="command line"))
    sys.stdout.write(token + "\n")


@token_app.command("list")
def list_tokens(data: Data) -> None:
    """One line per token: label, role, and when it was made; never the token itself."""
    for token in _with_accounts(data, lambda accounts: accounts.tokens()):
        sys.stdout.write(f"{token.label}\t{token.role.value}\t{token.created_at:%Y-%m-%d}\n")


@token_app.command("revoke")
def revoke_token(label: str, data: Data) -> None:
    """Make every token of this label useless."""
    if not _with_accounts(data, lambda accounts: accounts.revoke_token(label, by="command line")):
        raise WrongInput(f"there is no token “{label}”")


@config_app.command("export")
def export_configuration(data: Data) -> None:
    """Print the whole configuration as JSON; it holds no secret."""

    async def work() -> str:
        async with _open(data) as database:
            return await configuring.exported(database)

    sys.stdout.write(asyncio.run(work()) + "\n")


@config_app.command("import")
def import_configuration(file: Path, data: Data) -> None:
    """Take over a configuration, whole or not at all. The server must not run meanwhile."""
    text = configuring.read_file(file)

    async def work() -> int:
        async with _open(data) as database:
            return await configuring.imported(database, text)

    with locked(data):
        left_out = asyncio.run(work())
    if left_out:
        _say(f"{left_out} users are not there yet: add them with a password by `llm-app user add`", 0)


@config_app.command("check")
def check_configuration(file: Path) -> None:
    """Say what is wrong with a configuration, all of it; nothing is changed."""
    configuring.read(configuring.read_file(file))


@badges_app.command("import")
def import_badges(file: Path, data: Data) -> None:
    """Add or renew badges from a CSV file, all or none. The server must not run meanwhile."""

    async def work() -> int:
        async with _open(data) as database:
            return await configuring.badges_imported(database, file)

    with locked(data):
        sys.stdout.write(f"{asyncio.run(work())} badges added\n")


@sessions_app.command("export")
def export_sessions(
    data: Data,
    first: Annotated[str, typer.Option("--from", help="The first day, YYYY-MM-DD, in the site's time zone.")],
    last: Annotated[str, typer.Option("--to", help="The last day, inclusive; at most one year.")],
    decimal: Annotated[str, typer.Option(help="point or comma; comma puts ; between fields.")] = "point",
) -> None:
    """Print the sessions that started in a period as CSV, open ones included."""
    start, end = _day(first, "--from"), _day(last, "--to")
    if end < start:
        raise WrongInput("--to lies before --from")
    if end - start > timedelta(days=366):
        raise WrongInput("the period is longer than one year")
    if decimal not in ("point", "comma"):
        raise WrongInput("--decimal must be point or comma")
    asyncio.run(_export(data, start, end, decimal_comma=decimal == "comma"))


async def _export(data: Path, start: date, end: date, *, decimal_comma: bool) -> None:
    async with _open(data) as database:
        store, clock = SqliteStore(database), SystemClock()
        state, _ = recover(await store.load(), Now(clock.monotonic_ms(), clock.utc()), factory=False)
        zone = ZoneInfo(state.site.system.time_zone)
        from_utc = datetime.combine(start, time(), zone)
        to_utc = datetime.combine(end + timedelta(days=1), time(), zone)
        async for chunk in write_sessions(store.sessions(from_utc, to_utc), state, decimal_comma=decimal_comma):
            sys.stdout.write(chunk)


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise WrongInput(f"{option}: “{text}” is no day; write it as 2026-01-31") from error
