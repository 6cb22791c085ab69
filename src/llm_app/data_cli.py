"""The commands on a data directory as they are typed; what they do, `data_commands`, is read in when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Data = Annotated[Path, typer.Option("--data", help="The data directory.")]
RoleName = Literal["administrator", "advanced", "standard"]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

sessions_app = typer.Typer(help="Charging sessions.", no_args_is_help=True)
user_app = typer.Typer(help="Users.", no_args_is_help=True)
config_app = typer.Typer(help="The configuration as a file.", no_args_is_help=True)
badges_app = typer.Typer(help="Badges.", no_args_is_help=True)
token_app = typer.Typer(help="API tokens.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Make these commands part of `llm-app`."""
    for name, part in (
        ("sessions", sessions_app),
        ("user", user_app),
        ("token", token_app),
        ("config", config_app),
        ("badges", badges_app),
    ):
        app.add_typer(part, name=name)
    app.command("backup")(back_up_data)
    app.command("restore")(restore_data)
    app.command("factory-reset")(reset_to_factory)
    app.command("support-bundle")(support_bundle)


# Users and tokens


@user_app.command("reset-password")
def reset_password(name: str, data: Data, password_stdin: PasswordStdin = False) -> None:
    """Set a user's password; ends the factory state. Who has a shell on the controller is trusted."""
    from llm_app import data_commands

    data_commands.reset_password(name, data, password_stdin)


@user_app.command("add")
def add_user(
    name: str,
    data: Data,
    role: Annotated[RoleName, typer.Option(help="What the user may do.")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Add a user with a temporary password, to be changed at the first login."""
    from llm_app import data_commands

    data_commands.add_user(name, data, role, password_stdin)


@user_app.command("list")
def list_users(data: Data, json_output: AsJson = False) -> None:
    """One line per user: name, role, and whether the password is temporary."""
    from llm_app import data_commands

    data_commands.list_users(data, json_output)


@token_app.command("create")
def create_token(
    data: Data,
    role: Annotated[RoleName, typer.Option(help="What the token may do.")],
    label: Annotated[str, typer.Option(help="What it is for; revoke it by this name.")] = "command line",
) -> None:
    """Create an API token and print it, alone: it is shown once."""
    from llm_app import data_commands

    data_commands.create_token(data, role, label)


@token_app.command("list")
def list_tokens(data: Data, json_output: AsJson = False) -> None:
    """One line per token: label, role, and when it was made; never the token itself."""
    from llm_app import data_commands

    data_commands.list_tokens(data, json_output)


@token_app.command("revoke")
def revoke_token(label: str, data: Data) -> None:
    """Make every token of this label useless."""
    from llm_app import data_commands

    data_commands.revoke_token(label, data)


# Configuration and badges


@config_app.command("export")
def export_configuration(data: Data) -> None:
    """Print the whole configuration as JSON; it holds no secret."""
    from llm_app import data_commands

    data_commands.export_configuration(data)


@config_app.command("import")
def import_configuration(file: Path, data: Data) -> None:
    """Take over a configuration, whole or not at all; a running server takes it over at once."""
    from llm_app import data_commands

    data_commands.import_configuration(file, data)


@config_app.command("check")
def check_configuration(file: Path) -> None:
    """Say what is wrong with a configuration, all of it; nothing is changed."""
    from llm_app import data_commands

    data_commands.check_configuration(file)


@badges_app.command("import")
def import_badges(
    file: Path,
    data: Data,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Add or renew badges from a CSV file, all or none."""
    from llm_app import data_commands

    data_commands.import_badges(file, data, dry_run)


# Sessions


@sessions_app.command("export")
def export_sessions(
    data: Data,
    first: Annotated[str, typer.Option("--from", help="The first day, YYYY-MM-DD, in the site's time zone.")],
    last: Annotated[str, typer.Option("--to", help="The last day, inclusive; at most one year.")],
    decimal: Annotated[str, typer.Option(help="point or comma; comma puts ; between fields.")] = "point",
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON instead of CSV.")] = False,
) -> None:
    """Print the sessions that started in a period as CSV, open ones included."""
    from llm_app import data_commands

    data_commands.export_sessions(data, first, last, decimal, json_output)


# The whole of it


def back_up_data(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="The file to write. [default: llm-backup-TIME.db]")] = None,
) -> None:
    """Write a complete, checked copy of all that lasts into one file, while the server runs or not."""
    from llm_app import data_commands

    data_commands.back_up_data(data, output)


def restore_data(file: Path, data: Data) -> None:
    """Put a backup in place of the present data, which is kept aside. The server must not run meanwhile."""
    from llm_app import data_commands

    data_commands.restore_data(file, data)


def reset_to_factory(
    data: Data, yes: Annotated[bool, typer.Option("--yes", help="Really erase everything.")] = False
) -> None:
    """Erase users, badges, sessions, configuration and history. The server must not run meanwhile."""
    from llm_app import data_commands

    data_commands.reset_to_factory(data, yes)


def support_bundle(
    data: Data,
    output: Annotated[Path | None, typer.Option(help="The file to write. [default: llm-support-TIME.zip]")] = None,
) -> None:
    """Collect what helps to find a fault, without secrets, badges or names of drivers; print the file's path."""
    from llm_app import data_commands

    data_commands.support_bundle(data, output)
