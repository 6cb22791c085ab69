"""`llm-app check` tells what is wrong with an installation, one line each, beside a running server or without one."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import PASSWORD, Server, llm_app

FREE = ("--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0")


def checked(data: Path, *more: str) -> tuple[int, dict[str, tuple[bool, str]]]:
    answer = llm_app("check", "--data", str(data), "--json", *(more or FREE))
    assert answer.stderr == ""
    found: list[dict[str, Any]] = json.loads(answer.stdout)["checks"]
    return answer.returncode, {f["what"]: (f["good"], f["text"]) for f in found}


@pytest.fixture(scope="module")
def as_installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("installed")
    llm_app("user", "reset-password", "admin", "--password-stdin", "--data", str(data), text=PASSWORD)
    file = data / "site.json"
    supply = {"mode": "static", "static_max_a": 32}
    file.write_text(json.dumps({"supply": supply, "stations": [{"id": "ST1", "start_alone_a": 6}]}))
    assert llm_app("config", "import", str(file), "--data", str(data)).returncode == 0
    return data


@pytest.fixture
def installed(tmp_path: Path, as_installed: Path) -> Path:
    return shutil.copytree(as_installed, tmp_path, dirs_exist_ok=True)


def test_a_sound_installation_passes_and_shows_the_sum_that_is_left_alone(installed: Path) -> None:
    code, found = checked(installed)
    assert (code, all(good for good, _ in found.values())) == (0, True)
    assert list(found) == [
        "data directory",
        "database",
        "clock",
        "configuration",
        "without control",
        "port for pages",
        "port for stations",
    ]
    assert "site 6 of 32 A" in found["without control"][1]
    plain = llm_app("check", "--data", str(installed), *FREE)
    assert [line.split()[0] for line in plain.stdout.splitlines()] == ["ok"] * 7


def test_an_empty_directory_is_one_that_was_never_set_up(tmp_path: Path) -> None:
    code, found = checked(tmp_path)
    assert (code, found["database"]) == (0, (True, "nothing was ever set up here"))


def test_a_directory_that_is_not_there_fails(tmp_path: Path) -> None:
    code, found = checked(tmp_path / "nowhere")
    assert (code, found["data directory"][0]) == (1, False)


def test_a_damaged_database_is_named_and_nothing_of_it_believed(installed: Path) -> None:
    with sqlite3.connect(installed / "llm.db") as database:
        database.execute("UPDATE site SET crc = crc + 1")
    database.close()
    code, found = checked(installed)
    assert (code, found["database"][0]) == (1, False)
    assert "check sum" in found["database"][1]
    assert "configuration" not in found


def test_a_clock_before_the_last_record_fails(installed: Path) -> None:
    with sqlite3.connect(installed / "llm.db") as database:
        database.execute("UPDATE facts SET value = '2099-01-01T00:00:00.000000+00:00' WHERE name = 'latest_utc'")
    database.close()
    code, found = checked(installed)
    assert (code, found["clock"][0]) == (1, False)


@pytest.fixture
def mute() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_mute_meter_and_a_taken_port_fail(installed: Path, mute: int) -> None:
    file = installed / "meter.json"
    meter = {"node": "site", "model": "eastron_sdm630", "host": "127.0.0.1", "port": mute}
    file.write_text(json.dumps({"meters": [meter]}))
    assert llm_app("config", "import", str(file), "--data", str(installed)).returncode == 0
    code, found = checked(installed, "--http", f"127.0.0.1:{mute}", "--ocpp", "127.0.0.1:0")
    assert code == 1
    assert {what for what, (good, _) in found.items() if not good} == {"meter of site", "port for pages"}


def test_beside_its_running_server_everything_is_in_order(installed: Path) -> None:
    server = Server(installed)
    try:
        ports = (server.http.removeprefix("http://"), server.ocpp.removeprefix("ws://").removesuffix("/ocpp"))
        code, found = checked(installed, "--http", ports[0], "--ocpp", ports[1])
    finally:
        server.stop()
    assert code == 0, found
    assert "held while our server runs" in found["port for pages"][1]
    assert "in use" in found["database"][1]
