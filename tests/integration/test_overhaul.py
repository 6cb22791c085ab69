"""A restore and a factory reset from the page: a real server starts anew by itself, and loses nothing by accident."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from patience import PATIENCE_S
from server_process import PASSWORD, Server, llm_app

from llm_adapters.sqlite.database import FILE_NAME
from llm_app.overhaul import RESET, RESTORE, carry_out_orders

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    told = llm_app("user", "reset-password", "admin", "--password-stdin", "--data", str(tmp_path), text=PASSWORD)
    assert told.returncode == 0, told.stderr
    yield running
    if running.process.poll() is None:
        running.stop()


@contextlib.contextmanager
def signed_in(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http, timeout=PATIENCE_S, trust_env=False) as client:
        assert client.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303
        yield client


def send(client: httpx.Client, path: str, fields: dict[str, str], file: bytes | None = None) -> httpx.Response:
    """As the form of the page sends it."""
    token = re.search(r'name="csrf" value="([^"]+)"', client.get("/system").text)
    assert token is not None
    files = {"file": ("backup.db", file)} if file is not None else None
    return client.post(path, data={"csrf": token[1], "password": PASSWORD, **fields}, files=files)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def name_of(server: Server) -> str:
    """The name of the site as somebody reads it who has not signed in; empty while nobody answers."""
    try:
        html = httpx.get(f"{server.http}/login", timeout=5, trust_env=False).text
    except httpx.TransportError:
        return ""
    found = re.search(r'class="site" href="/">([^<]*)<', html)
    return found[1] if found is not None else ""


def renamed(server: Server, name: str) -> None:
    answer = httpx.put(
        f"{server.http}/api/v1/system",
        json={"name": name},
        headers={"Authorization": f"Bearer {server.token}"},
        timeout=PATIENCE_S,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text


def test_a_backup_is_restored_from_the_page_and_the_server_comes_back_at_its_ports(server: Server) -> None:
    renamed(server, "Before")
    with signed_in(server) as client:
        backup = send(client, "/system/backup", {}).content
        renamed(server, "After")
        assert send(client, "/system/restore", {"confirm": "Before"}, backup).status_code == 422
        assert send(client, "/system/restore", {"confirm": "After", "password": "wrong"}, backup).status_code == 422
        damaged = backup[:5_000] + b"\0" * 5_000 + backup[10_000:]
        for wrong in (b"", b"no database at all", damaged):
            assert send(client, "/system/restore", {"confirm": "After"}, wrong).status_code == 422
        assert name_of(server) == "After"
        assert send(client, "/system/restore", {"confirm": "After"}, backup).status_code == 200
        wait_for(lambda: name_of(server) == "Before")
        assert client.get("/system").status_code == 303, "everybody signs in again"
    assert list(server.data.glob(f"{FILE_NAME}.replaced-*")), "what was there is kept aside"
    assert not list(server.data.glob("*.pending*"))
    with signed_in(server):
        assert server.process.poll() is None


def test_a_factory_reset_from_the_page_leaves_a_controller_as_delivered(server: Server) -> None:
    renamed(server, "Depot")
    with signed_in(server) as client:
        assert send(client, "/system/reset", {"confirm": "depot"}).status_code == 422
        assert send(client, "/system/reset", {"confirm": "Depot"}).status_code == 200
        wait_for(lambda: name_of(server) == "Local Load Manager")
    login = {"name": "admin", "password": "1234"}
    answer = httpx.post(f"{server.http}/login", data=login, timeout=PATIENCE_S, trust_env=False)
    assert answer.headers["location"] == "/set-password"


# Orders that lie in the data directory


def test_an_order_outlives_a_power_cut_and_is_carried_out_once(tmp_path: Path) -> None:
    assert llm_app("token", "create", "--role", "standard", "--data", str(tmp_path)).returncode == 0
    shutil.copyfile(tmp_path / FILE_NAME, tmp_path / RESTORE)
    carry_out_orders(tmp_path, NOON)
    assert [path.name for path in tmp_path.glob(f"{FILE_NAME}.replaced-*")] == [
        f"{FILE_NAME}.replaced-20260310T120000Z"
    ]
    carry_out_orders(tmp_path, NOON)
    assert len(list(tmp_path.glob(f"{FILE_NAME}.replaced-*"))) == 1


def test_a_backup_that_is_no_good_is_dropped_and_what_there_was_stays(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"what there was")
    (tmp_path / RESTORE).write_bytes(b"nonsense")
    carry_out_orders(tmp_path, NOON)
    assert (tmp_path / FILE_NAME).read_bytes() == b"what there was"
    assert not (tmp_path / RESTORE).exists()


def test_a_reset_comes_before_a_restore(tmp_path: Path) -> None:
    for name in (FILE_NAME, RESTORE, RESET):
        (tmp_path / name).write_bytes(b"")
    carry_out_orders(tmp_path, NOON)
    assert list(tmp_path.iterdir()) == []
