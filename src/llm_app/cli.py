"""The command line: reads arguments, calls the wiring, prints. Exit codes: 0 done, 1 failed, 2 wrong usage or input.

Each command reads in what it needs when it is run: `--help` need not wait for the whole product.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_app.certificate_commands import certificate_app
from llm_app.data_cli import Data, add_to
from llm_app.faults import Failure, WrongInput
from llm_app.meter_cli import meter_app

if TYPE_CHECKING:
    from llm_app.wiring import Address

app = typer.Typer(
    name="llm-app",
    help="The Local Load Manager: shares the current a building has left over its charging stations.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
add_to(app)
app.add_typer(meter_app, name="meter")
app.add_typer(certificate_app, name="certificate")

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
    "first_login_code": str,
}
SHORTEST_CODE = 8
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
            return _say(error.format_message().replace("Value error, ", ""), 2)
        raise
    return code if isinstance(code, int) else 0


def _say(text: str, code: int) -> int:
    if text.startswith("Usage: "):  # nothing was asked for: the help, as it is
        sys.stderr.write(f"{text}\n")
    else:
        sys.stderr.write("".join(f"llm-app: {line}\n" for line in text.splitlines() or [""]))
    return code


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,
) -> None:
    if show_version:
        from importlib.metadata import version

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
    first_login_code: Annotated[
        str | None, typer.Option(help="The first password of this device, in place of the usual 1234.")
    ] = None,
) -> None:
    """Run the controller until it is told to stop."""
    from llm_app.running import own_certificates, serve
    from llm_app.wiring import Options

    settings = _settings(config)
    on_command_line = {"http": http, "ocpp": ocpp, "ocpp_tls": ocpp_tls, "first_login_code": first_login_code}
    for name, given in on_command_line.items():
        if given is not None and name in settings:
            raise WrongInput(f"{name} is given twice: on the command line and in {config}")
    encrypted = ocpp_tls or settings.get("ocpp_tls")
    options = Options(
        data=data,
        http=_address(http or str(settings.get("http", "0.0.0.0:8080")), "--http"),
        ocpp=_address(ocpp or str(settings.get("ocpp", "0.0.0.0:9000")), "--ocpp"),
        allowed_hosts=frozenset(str(name) for name in settings.get("allowed_hosts", [])),
        ocpp_tls=_address(str(encrypted), "--ocpp-tls") if encrypted is not None else None,
        tls=own_certificates(settings, config),
        https=bool(settings.get("https", False)),
        first_login_code=_first_login_code(first_login_code, settings),
        starts_anew=True,
    )
    _log(str(settings.get("log", "info")))
    serve(options)


def _first_login_code(given: str | None, settings: dict[str, Any]) -> str | None:
    code = given if given is not None else settings.get("first_login_code")
    if code is not None and len(code) < SHORTEST_CODE:
        raise WrongInput(f"the first login code needs at least {SHORTEST_CODE} characters")
    return code


@app.command()
def demo(
    stations: Annotated[int, typer.Option(min=1, max=100, help="How many virtual stations.")] = 8,
    seed: Annotated[int, typer.Option(help="The seed of everything that happens by chance.")] = 1,
    http: Annotated[str, typer.Option(help="HOST:PORT of pages and API.")] = "127.0.0.1:8080",
    ocpp: Annotated[str, typer.Option(help="HOST:PORT for stations.")] = "127.0.0.1:9000",
    data: Annotated[Path | None, typer.Option(help="Keep the data here instead of in a new folder.")] = None,
    meter: Annotated[str, typer.Option(help="What the virtual meter is.")] = "eastron_sdm630",
) -> None:
    """Run the complete product with a virtual building, meter, stations and cars, in real time, until Ctrl-C."""
    import asyncio

    from llm_adapters.virtual.registers import LAYOUTS
    from llm_app.demo import run_demo
    from llm_app.running import until_stopped

    if meter not in LAYOUTS:
        raise WrongInput(f"--meter: must be one of {', '.join(sorted(LAYOUTS))}")
    _log("warning")
    at = _address(http, "--http"), _address(ocpp, "--ocpp")
    asyncio.run(run_demo(stations, seed, *at, data, until_stopped, meter))


def _settings(path: Path | None) -> dict[str, Any]:
    import tomllib

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


def _address(text: str, option: str) -> Address:
    from llm_app.wiring import Address

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
    from llm_adapters.files.problems import solve_text
    from llm_core import ProblemError

    try:
        text = sys.stdin.read() if problem == "-" else Path(problem).read_text(encoding="utf-8")
    except OSError as error:
        raise WrongInput(f"cannot read {problem}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongInput(f"{problem} is not UTF-8 text") from error
    try:
        answer = solve_text(text)
    except ProblemError as error:
        raise WrongInput("\n".join(str(fault).removeprefix(": ") for fault in error.faults)) from error
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
    tick: Annotated[int | None, typer.Option(min=1, max=60, help="Most seconds between ticks of --sessions.")] = None,
    energy: Annotated[str, typer.Option(help="What a recorded car wants: requested or delivered.")] = "requested",
    wishes: Annotated[
        str, typer.Option(help="What drivers say on arrival: none, claimed (as recorded) or true (as it will be).")
    ] = "none",
    json_output: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw a picture: FILE.svg or FILE.png.")] = None,
) -> None:
    """Run the controller in virtual time: a made-up site, a story told by a file, or recorded sessions."""
    from llm_app.simulate_command import Asked, run_simulation

    if energy not in ("requested", "delivered"):
        raise WrongInput("--energy must be requested or delivered")
    if wishes not in ("none", "claimed", "true"):
        raise WrongInput("--wishes must be none, claimed or true")
    _log("error")
    asked = Asked(scenario, sessions, stations, hours, seed, supply_a or (), tick, energy, wishes, plot, json_output)
    text, held = run_simulation(asked)
    sys.stdout.write(text + "\n")
    if not held:
        raise Failure("not everything that was expected held")


@app.command("check")
def check_installation(
    data: Annotated[Path, typer.Option(help="The data directory.")],
    http: Annotated[str, typer.Option(help="HOST:PORT of pages and API.")] = "0.0.0.0:8080",
    ocpp: Annotated[str, typer.Option(help="HOST:PORT for stations.")] = "0.0.0.0:9000",
    json_output: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> int:
    """Look whether an installation is as it must be, with its server running or stopped; changes nothing."""
    from llm_app.checkup import check_up, told

    _log("critical")  # a meter that does not answer is a finding
    findings = check_up(data, _address(http, "--http"), _address(ocpp, "--ocpp"))
    sys.stdout.write(told(findings, as_json=json_output) + "\n")
    return 0 if all(finding.good for finding in findings) else 1


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
