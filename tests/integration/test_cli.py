"""Wrong input costs nothing: one readable line per fault, the right exit code, never a traceback."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import PASSWORD, Server, llm_app

from llm_app.demo import told
from llm_app.wiring import Address

PROBLEM = {
    "nodes": [{"id": "site", "parent": None, "limit_a": {"L1": 16, "L2": 16, "L3": 16}}],
    "demands": [{"id": "A/1", "node": "site", "phases": ["L1"], "min_a": 6, "max_a": 32, "step_a": 1}],
    "strategy": "equal",
}


def refused(*arguments: str, code: int, says: str, text: str | None = None) -> None:
    answer = llm_app(*arguments, text=text)
    assert answer.returncode == code, answer
    assert "Traceback" not in answer.stderr
    assert answer.stdout == ""
    lines = answer.stderr.splitlines()
    assert lines
    assert all(line.startswith("llm-app: ") for line in lines), answer.stderr
    assert says in answer.stderr, answer.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
        (["server"], "--data"),
        (["server", "--data", "x", "--colour", "red"], "--colour"),
        (["server", "--data", "x", "--http", "nowhere"], "HOST:PORT"),
        (["server", "--data", "x", "--http", "127.0.0.1:99999"], "HOST:PORT"),
        (["demo", "--stations", "0"], "--stations"),
        (["demo", "--stations", "many"], "--stations"),
        (["simulate", "--hours", "-1"], "--hours"),
        (["allocate"], "problem"),
        (["allocate", "/no/such/file.json"], "cannot read"),
        (["token", "create", "--data", "x", "--role", "king"], "king"),
        (["sessions", "export", "--data", "x", "--from", "yesterday", "--to", "2026-01-01"], "yesterday"),
        (["sessions", "export", "--data", "x", "--from", "2026-02-01", "--to", "2026-01-01"], "before"),
        (["sessions", "export", "--data", "x", "--from", "2024-01-01", "--to", "2026-01-01"], "one year"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(*arguments, code=2, says=says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[1]", "/0"),
        (json.dumps({**PROBLEM, "strategy": "greedy"}), "/strategy"),
        (
            json.dumps({**PROBLEM, "demands": [{**PROBLEM["demands"][0], "min_a": True, "colour": 1}]}),
            "/demands/0/min_a",
        ),  # type: ignore[dict-item]
        ('{"nodes": [], "nodes": []}', "nodes"),
    ],
)
def test_a_malformed_problem_is_refused_with_every_fault(text: str, says: str) -> None:
    refused("allocate", "-", code=2, says=says, text=text)


def test_allocate_reads_stdin_and_answers_with_reasons() -> None:
    answer = llm_app("allocate", "-", text=json.dumps([PROBLEM, PROBLEM]))
    grant = {"id": "A/1", "limit_a": 16.0, "reason": "shared_limit", "limited_by": {"node": "site", "phase": "L1"}}
    assert json.loads(answer.stdout) == [{"grants": [grant]}] * 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http = ", "not valid TOML"),
        ("\xff", "not valid TOML"),
        ('colour = "red"', "unknown key “colour”"),
        ("http = 8080", "must be a text"),
        ('http = "nowhere"', "HOST:PORT"),
        ('log = "loud"', "no level"),
    ],
)
def test_a_wrong_configuration_file_is_refused(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "llm.toml"
    file.write_bytes(text.encode("latin-1"))
    refused("server", "--data", str(tmp_path / "data"), "--config", str(file), code=2, says=says)
    assert not (tmp_path / "data").exists()


def test_a_setting_in_two_places_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "llm.toml"
    file.write_text('http = "127.0.0.1:0"')
    arguments = ["server", "--data", str(tmp_path), "--config", str(file), "--http", "127.0.0.1:0"]
    refused(*arguments, code=2, says="given twice")


@pytest.mark.parametrize("option", ["--http", "--ocpp"])
def test_a_taken_port_is_named(option: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        others = {"--http": "127.0.0.1:0", "--ocpp": "127.0.0.1:0", option: address}
        arguments = [part for pair in others.items() for part in pair]
        refused("server", "--data", str(tmp_path), *arguments, code=1, says=address)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused by a file in the place of the directory alone")
def test_an_unwritable_data_directory_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "data"
    blocked.write_text("a file, not a directory")
    refused(
        "server",
        "--data",
        str(blocked),
        "--http",
        "127.0.0.1:0",
        "--ocpp",
        "127.0.0.1:0",
        code=2,
        says="is no directory",
    )
    refused("token", "create", "--role", "standard", "--data", str(blocked), code=2, says="is no directory")


def test_a_second_server_on_the_same_data_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path)
    try:
        arguments = ["server", "--data", str(tmp_path), "--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0"]
        refused(*arguments, code=1, says="another server")
    finally:
        code, _ = server.stop()
    assert code == 0


@pytest.mark.parametrize(("password", "says"), [("short", "at least 8"), ("alllowercase1!", "capital"), ("", "symbol")])
def test_a_weak_password_is_refused_with_what_it_lacks(password: str, says: str, tmp_path: Path) -> None:
    arguments = ["user", "reset-password", "admin", "--data", str(tmp_path), "--password-stdin"]
    refused(*arguments, code=2, says=says, text=password + "\n")


def test_users_and_tokens_without_a_server(tmp_path: Path) -> None:
    data = ["--data", str(tmp_path)]
    assert llm_app("user", "reset-password", "admin", "--password-stdin", *data, text=PASSWORD + "\n").returncode == 0
    added = llm_app("user", "add", "eve", "--role", "standard", "--password-stdin", *data, text=PASSWORD + "\n")
    assert added.returncode == 0, added.stderr
    assert "eve\tstandard\ttemporary" in llm_app("user", "list", *data).stdout
    again = ["user", "add", "eve", "--role", "standard", "--password-stdin", *data]
    refused(*again, code=2, says="already", text=PASSWORD + "\n")
    refused("user", "reset-password", "nobody", "--password-stdin", *data, code=2, says="nobody", text=PASSWORD + "\n")
    token = llm_app("token", "create", "--role", "administrator", *data).stdout
    assert token.startswith("llm_")
    assert token.count("\n") == 1
    for file in tmp_path.iterdir():
        assert token.strip().encode() not in file.read_bytes()
        assert PASSWORD.encode() not in file.read_bytes()
        assert not stat.S_IMODE(file.stat().st_mode) & 0o077, f"{file} can be read by others"


def test_help_need_not_wait_for_the_whole_product() -> None:
    """Each command reads in what it needs; the help needs none of it."""
    heavy = ["llm_core", "llm_adapters", "llm_app.wiring", "attr", "asyncio", "starlette", "websockets", "pymodbus"]
    looked = subprocess.run(
        [sys.executable, "-c", f"import sys, llm_app.cli; print([name for name in {heavy} if name in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert looked.stdout.strip() == "[]"


def test_without_a_command_the_help_is_shown_as_it_is() -> None:
    answer = llm_app()
    assert answer.returncode == 2
    assert answer.stderr.startswith("Usage: ")
    assert "llm-app: " not in answer.stderr


def test_users_and_tokens_are_listed_for_scripts_too(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    llm_app("user", "reset-password", "admin", "--password-stdin", *data, text=PASSWORD)
    llm_app("token", "create", "--role", "standard", "--label", "ann", *data)
    users = json.loads(llm_app("user", "list", "--json", *data).stdout)
    assert users == [{"name": "admin", "role": "administrator", "temporary": False}]
    (token,) = json.loads(llm_app("token", "list", "--json", *data).stdout)
    assert (token["label"], token["role"], token["created_at"][-1]) == ("ann", "standard", "Z")


def test_a_demo_that_is_open_to_others_tells_the_address_for_a_phone() -> None:
    here = told(Address("127.0.0.1", 8080), "192.168.1.20", "Secret", "ws://127.0.0.1:1/cpo")
    assert "Dashboard   http://127.0.0.1:8080\n" in here
    assert "192.168.1.20" not in here
    everybody = told(Address("0.0.0.0", 8081), "192.168.1.20", None, "ws://127.0.0.1:1/cpo")
    assert "Dashboard   http://127.0.0.1:8081\n  On a phone  http://192.168.1.20:8081\n" in everybody
    assert "0.0.0.0" not in everybody
    assert "sign in as before" in everybody
