"""Commands on a data directory: the same beside a running server and without one, and no secret leaves it."""

from __future__ import annotations

import asyncio
import contextlib
import html
import io
import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from patience import PATIENCE_S
from server_process import PASSWORD, Server
from test_sqlite_store import NOON, SteadyClock, ended

from llm_adapters.sqlite import Database, SqliteAccounts, SqliteStore
from llm_app.cli import run
from llm_core import AuditEntry, Badge, BadgeRecord, RefusedStart, Role, Site, Station, Verdict

MANUALS_EXAMPLE = "badgeId,type,comment,expirationDate,email\na1b2c3,STANDARD,example,30.01.2023,example@llm.fr\n"
HEAD = MANUALS_EXAMPLE.splitlines()[0] + "\n"


@pytest.fixture(autouse=True)
def private_files() -> Iterator[None]:
    """As the program's own entry point has it."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def llm_app(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command to its end, in this process."""
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(text)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(arguments))
    finally:
        sys.stdin = stdin
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def refused(*arguments: str, code: int, says: str, text: str = "") -> None:
    answer = llm_app(*arguments, text=text)
    assert (answer.returncode, answer.stdout) == (code, ""), answer
    assert all(line.startswith("llm-app: ") for line in answer.stderr.splitlines())
    assert says in answer.stderr


def api(server: Server) -> httpx.Client:
    headers = {"Authorization": f"Bearer {server.token}"}
    return httpx.Client(base_url=f"{server.http}/api/v1", headers=headers, timeout=PATIENCE_S, trust_env=False)


def in_database(data: Path, work: Callable[[Database], Any]) -> Any:
    async def inside() -> Any:
        database = await Database.open(data, SteadyClock())
        try:
            return await work(database)
        finally:
            await database.close()

    return asyncio.run(inside())


def lived_in(data: Path) -> None:
    """A site with a badge, a session and a user."""

    async def live(database: Database) -> None:
        badge = BadgeRecord("a1b2c3", Badge("A1:B2:C3", comment="Müller"))
        await SqliteStore(database).commit([Site(stations=(Station("ST1", "Left"),)), badge, ended(1)])
        await SqliteAccounts(database).set_password("admin", PASSWORD, by="test")

    in_database(data, live)


# Beside a running server


def test_a_running_server_takes_over_what_commands_change_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    file = tmp_path / "badges.csv"
    file.write_text(MANUALS_EXAMPLE)
    try:
        data = ["--data", str(tmp_path)]
        assert stat.S_IMODE((tmp_path / "llm.sock").stat().st_mode) == 0o600
        tried = llm_app("badges", "import", str(file), "--dry-run", *data)
        assert (tried.stdout, tried.returncode) == ("1 badge would be added\n", 0)
        added = llm_app("badges", "import", str(file), *data)
        assert (added.stdout, added.returncode) == ("1 badge added\n", 0)
        with api(server) as client:
            assert [badge["badge_id"] for badge in client.get("/badges").json()] == ["a1b2c3"]
            assert client.get("/audit").json()[0]["by"] == "command line"
            exported = json.loads(llm_app("config", "export", *data).stdout)
            exported["system"]["name"] = "Kerkstraat"
            exported["stations"] = [{"id": "ST7", "max_a": 20}]
            exported["badges"] = []
            configuration = tmp_path / "configuration.json"
            configuration.write_text(json.dumps(exported))
            imported = llm_app("config", "import", str(configuration), *data)
            assert (imported.returncode, imported.stderr) == (0, "")
            assert client.get("/system").json()["name"] == "Kerkstraat"
            assert [station["id"] for station in client.get("/stations").json()] == ["ST7"]
            assert client.get("/badges").json() == []
            configuration.write_text(json.dumps({**exported, "supply": {"fuse_a": -1}}))
            refused("config", "import", str(configuration), *data, code=2, says="/supply/fuse_a")
            file.write_text(HEAD + "a1,STANDARD,,30.02.2023,\n")
            refused("badges", "import", str(file), *data, code=2, says="line 2: expirationDate “30.02.2023” is no date")
        refused("restore", str(file), *data, code=1, says="already runs")
        refused("factory-reset", "--yes", *data, code=1, says="already runs")
    finally:
        server.stop()
    assert not (tmp_path / "llm.sock").exists()


def test_the_socket_works_however_deep_the_directory_lies(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 90) / ("b" * 90)
    server = Server(deep)
    try:
        file = tmp_path / "badges.csv"
        file.write_text(MANUALS_EXAMPLE)
        assert llm_app("badges", "import", str(file), "--data", str(deep)).stdout == "1 badge added\n"
        with api(server) as client:
            assert len(client.get("/badges").json()) == 1
    finally:
        server.stop()


def test_a_server_that_was_killed_leaves_a_socket_that_hinders_nobody(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.kill()
    assert (tmp_path / "llm.sock").exists()
    file = tmp_path / "badges.csv"
    file.write_text(MANUALS_EXAMPLE)
    assert llm_app("badges", "import", str(file), "--data", str(tmp_path)).stdout == "1 badge added\n"
    server.restart()
    server.stop()


# The same wrong file, the same answer

WRONG_FILES = [
    (HEAD + "a1,STANDARD,,30.02.2023,\n", "line 2: expirationDate “30.02.2023” is no date like 30.01.2030"),
    (HEAD + "a1,STANDARD,,,\nA:1,STANDARD,,,\n", "line 3: badgeId “A:1” stands in line 2 already"),
    (HEAD + "a1,KING,,,\n", "line 2: type “KING” must be STANDARD or SUPER"),
    ((HEAD + "a1,STANDARD,Müller,,\n").encode("latin-1"), "line 2: a letter is not in UTF-8"),
    (HEAD + "a1,STANDARD,,,\n" * 1_000_000, "larger than 5 MiB"),
    (HEAD + "a\n" * 1_000_000, "more than 100000 lines"),
    ("badgeId\n", None),
]
GOOD_FILES = [
    MANUALS_EXAMPLE,
    MANUALS_EXAMPLE.replace(",", ";"),
    b"\xef\xbb\xbf" + MANUALS_EXAMPLE.encode(),
    HEAD + 'a1b2c3,STANDARD,"=HYPERLINK(""http://x"")",,\n',
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    server = Server(tmp_path_factory.mktemp("data"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def browser(served: Server) -> Iterator[httpx.Client]:
    """A person who is signed in, as the pages see it."""
    word = ("user", "reset-password", "admin", "--password-stdin", "--data", str(served.data))
    assert llm_app(*word, text=PASSWORD + "\n").returncode == 0
    headers = {"Accept-Language": "en"}
    with httpx.Client(base_url=served.http, headers=headers, timeout=PATIENCE_S, trust_env=False) as client:
        assert client.post("/login", data={"name": "admin", "password": PASSWORD}).status_code == 303
        yield client


def on_the_page(browser: httpx.Client, data: bytes) -> str:
    """What the page says of a file of badges, in plain text."""
    token = browser.get("/badges/import").text.split('name="csrf" value="')[1].split('"')[0]
    answer = browser.post("/badges/import", data={"csrf": token}, files={"file": ("badges.csv", data, "text/csv")})
    return html.unescape(answer.text)


@pytest.mark.parametrize("number", range(len(WRONG_FILES)))
def test_a_wrong_file_of_badges_is_refused_in_the_same_words_everywhere(
    served: Server, browser: httpx.Client, tmp_path: Path, number: int
) -> None:
    content, says = WRONG_FILES[number]
    data = content.encode() if isinstance(content, str) else content
    file = tmp_path / "badges.csv"
    file.write_bytes(data)
    with api(served) as client:
        by_api = client.post("/badges/import", content=data)
        assert client.get("/badges").json() == []
    beside = llm_app("badges", "import", str(file), "--data", str(served.data))
    alone = llm_app("badges", "import", str(file), "--data", str(tmp_path / "empty"))
    assert (beside.returncode, beside.stderr, beside.stdout) == (alone.returncode, alone.stderr, alone.stdout)
    if says is None:  # nothing in it is nothing to do
        assert (by_api.status_code, alone.stdout) == (200, "0 badges added\n")
        return
    assert alone.returncode == 2
    assert says in alone.stderr
    if len(data) > 6 * 1024 * 1024:  # refused before it has arrived
        assert (by_api.status_code, "larger than 5 MiB" in by_api.json()["detail"]) == (413, True)
        return
    assert by_api.status_code == 422
    assert says in by_api.json()["errors"][0]["detail"]
    assert [f"llm-app: {error['detail']}" for error in by_api.json()["errors"]] == alone.stderr.splitlines()
    assert re.sub(r"^(line \d+): (\w+) (?=“)", r"\1, \2: ", says) in on_the_page(browser, data)


@pytest.mark.parametrize("number", range(len(GOOD_FILES)))
def test_a_file_is_taken_however_it_was_saved(tmp_path: Path, number: int) -> None:
    content = GOOD_FILES[number]
    file = tmp_path / "badges.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    data = tmp_path / "data"
    assert llm_app("badges", "import", str(file), "--data", str(data)).stdout == "1 badge added\n"
    (badge,) = json.loads(llm_app("config", "export", "--data", str(data)).stdout)["badges"]
    assert badge["badge_id"] == "a1b2c3"


@pytest.mark.parametrize(
    ("part", "value", "pointer"),
    [
        ("supply", {"fuse_a": True}, "/supply/fuse_a"),
        ("access", {"rule": "maybe"}, "/access/rule"),
        ("system", {"time_zone": "Mars/Base"}, "/system/time_zone"),
        ("clusters", [{"id": "site", "name": "x"}], "/clusters/0/id"),
    ],
)
def test_a_wrong_setting_is_refused_at_the_same_place_everywhere(
    served: Server, tmp_path: Path, part: str, value: Any, pointer: str
) -> None:
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({part: value}))
    with api(served) as client:
        body = {part: value} if isinstance(value, list) else value
        by_api = client.put(f"/{part}", json=body)
    (error, *_) = by_api.json()["errors"]
    whole = f"/{part}{error['pointer']}" if not isinstance(value, list) else error["pointer"]
    assert (by_api.status_code, whole) == (422, pointer)
    for command in (["import", str(file), "--data", str(served.data)], ["check", str(file)]):
        refused("config", *command, code=2, says=f"{pointer} {error['detail']}")


# Backup, restore, factory reset


def test_a_backup_of_a_running_server_is_complete_and_can_be_restored(tmp_path: Path) -> None:
    data, backup, other = tmp_path / "data", tmp_path / "backup.db", tmp_path / "other"
    lived_in(data)
    server = Server(data)
    try:
        with api(server) as client:
            assert client.post("/badges", json={"badge_id": "B2"}).status_code == 201  # it is in the log alone, so far
            by_api = client.get("/backup")
        made = llm_app("backup", "--data", str(data), "--output", str(backup))
        assert (made.returncode, made.stdout) == (0, f"{backup}\n")
        assert by_api.content[:15] == b"SQLite format 3"
        assert len(by_api.content) == backup.stat().st_size
    finally:
        server.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.db", "data"]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert llm_app("restore", str(backup), "--data", str(other)).stdout == "restored\n"
    exported = [json.loads(llm_app("config", "export", "--data", str(where)).stdout) for where in (data, other)]
    assert exported[0] == exported[1]
    assert len(exported[1]["badges"]) == 2
    sessions = llm_app("sessions", "export", "--data", str(other), "--from", "2026-01-01", "--to", "2026-12-31").stdout
    assert len(sessions.splitlines()) == 2


def test_a_restore_keeps_what_was_there_and_trusts_no_limit_and_no_browser(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    lived_in(data)
    assert llm_app("backup", "--data", str(data), "--output", str(backup)).returncode == 0
    in_database(data, lambda database: SqliteStore(database).commit([ended(2)]))
    answer = llm_app("restore", str(backup), "--data", str(data))
    assert answer.returncode == 0
    aside = Path(answer.stdout.strip().rpartition(" ")[2])
    assert sqlite3.connect(aside).execute("SELECT count(*) FROM sessions").fetchone() == (2,)

    async def look(database: Database) -> None:
        stored = await SqliteStore(database).load()
        assert len(stored.recent_sessions) == 1
        assert stored.last_transaction_id > 100_000
        assert not await SqliteAccounts(database).is_factory()
        (entry, *_) = [entry async for entry in SqliteStore(database).audit(1)]
        assert entry.what == "restored from backup.db"

    in_database(data, look)


@pytest.mark.parametrize("what", ["nothing", "text", "other", "cut", "flipped", "newer", "directory"])
def test_what_is_no_sound_backup_replaces_nothing(tmp_path: Path, what: str) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup.db"
    lived_in(data)
    assert llm_app("backup", "--data", str(data), "--output", str(backup)).returncode == 0
    content = bytearray(backup.read_bytes())
    if what == "nothing":
        backup.unlink()
    elif what == "text":
        backup.write_text("Dear Sir or Madam")
    elif what == "cut":
        backup.write_bytes(content[: len(content) // 2])
    elif what == "flipped":
        content[4_096:8_192] = bytes(4_096)
        backup.write_bytes(content)
    elif what == "directory":
        backup.unlink()
        backup.mkdir()
    else:
        if what == "other":
            backup.unlink()
        connection = sqlite3.connect(backup)
        connection.execute("CREATE TABLE hats (size)" if what == "other" else "PRAGMA user_version = 999")
        connection.commit()
        connection.close()
    before = llm_app("config", "export", "--data", str(data)).stdout
    names = sorted(path.name for path in data.iterdir())
    refused("restore", str(backup), "--data", str(data), code=2, says="backup.db" if what != "newer" else "newer")
    assert llm_app("config", "export", "--data", str(data)).stdout == before
    assert sorted(path.name for path in data.iterdir()) == sorted({*names, "llm.lock"})


def test_a_factory_reset_is_asked_for_twice_and_leaves_nothing(tmp_path: Path) -> None:
    lived_in(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "history.db").touch()
    (tmp_path / "history.db-wal").touch()
    refused("factory-reset", "--data", str(tmp_path), code=2, says="--yes")
    assert llm_app("factory-reset", "--yes", "--data", str(tmp_path)).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm.lock", "notes.txt"]
    assert in_database(tmp_path, lambda database: SqliteAccounts(database).is_factory())


def test_without_data_there_is_no_backup_and_no_bundle(tmp_path: Path) -> None:
    for command in ("backup", "support-bundle"):
        refused(command, "--data", str(tmp_path / "nowhere"), code=2, says="there is no directory")
        refused(command, "--data", str(tmp_path), code=1, says="no database")
    refused("factory-reset", "--yes", "--data", str(tmp_path / "nowhere"), code=2, says="there is no directory")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("config", "export"),
        ("sessions", "export", "--from", "2026-01-01", "--to", "2026-01-31"),
        ("user", "list"),
        ("token", "list"),
        ("token", "revoke", "x"),
    ],
)
def test_a_mistyped_directory_is_told_and_not_made(tmp_path: Path, command: tuple[str, ...]) -> None:
    mistyped = tmp_path / "dta"
    refused(*command, "--data", str(mistyped), code=2, says=f"there is no directory {mistyped}")
    assert not mistyped.exists()


def test_a_backup_that_finds_no_room_leaves_no_half_of_it(tmp_path: Path) -> None:
    lived_in(tmp_path / "data")
    refused(
        "backup", "--data", str(tmp_path / "data"), "--output", "/dev/full/backup.db", code=1, says="no backup was made"
    )


# The support bundle

CANARIES = (
    "04CA9A5E",
    "04:ca:9a:5e",
    "Canary Bird",
    "canary@example.org",
    "Canary-Group",
    "04FE11ED",
    "0BADBEEF",
    PASSWORD,
)


def test_a_support_bundle_holds_no_secret_no_badge_and_nobodys_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    secrets: list[str] = []

    async def seed(database: Database) -> None:
        store, accounts = SqliteStore(database), SqliteAccounts(database)
        badge = Badge("04:CA:9A:5E", comment="Canary Bird", email="canary@example.org", group="Canary-Group")
        site = Site(stations=(Station("ST1", "Left", badges=frozenset({"04ca9a5e", "0badbeef"})),))
        shown = AuditEntry(NOON, "admin", "PutStation", "", repr(site.stations[0]))
        about = AuditEntry(NOON, "admin", "badge", "", repr(badge))
        refusal = RefusedStart(NOON, "ST1", "04FE11ED", Verdict.INVALID)
        other = BadgeRecord("0badbeef", Badge("0BADBEEF"))
        session = ended(1)
        await store.commit([site, BadgeRecord("04ca9a5e", badge), other, shown, about, refusal, session])
        await accounts.set_password("admin", PASSWORD, by="test")
        secrets.append(await accounts.create_token(Role.ADMINISTRATOR, "script", by="test"))
        web = await accounts.sign_in("admin", PASSWORD, "127.0.0.1")
        secrets.append(web.cookie)  # type: ignore[union-attr]

    in_database(data, seed)
    for table, columns in (("users", "password"), ("tokens", "token_hash"), ("web_sessions", "cookie_hash")):
        rows = sqlite3.connect(data / "llm.db").execute(f"SELECT {columns} FROM {table} WHERE {columns} IS NOT NULL")
        secrets += [str(value) for (value,) in rows]
    assert len(secrets) >= 5
    server = Server(data)
    try:
        with api(server) as client:
            client.post("/badges", json={"badge_id": "CAFE0001", "comment": "Second Canary"})
            by_api = client.get("/support-bundle")
            assert by_api.headers["content-disposition"].endswith('.zip"')
            (tmp_path / "by_api.zip").write_bytes(by_api.content)
        bundle = tmp_path / "bundle.zip"
        made = llm_app("support-bundle", "--data", str(data), "--output", str(bundle))
        assert (made.returncode, made.stdout) == (0, f"{bundle}\n")
    finally:
        server.stop()
    assert not list(data.glob("llm-copy-*")), "what was sent is removed"
    llm_app("support-bundle", "--data", str(data), "--output", str(tmp_path / "after.zip"))
    for path in (bundle, tmp_path / "by_api.zip", tmp_path / "after.zip"):
        with zipfile.ZipFile(path) as archive:
            assert {"about.json", "configuration.json", "changes.txt", "sessions.json"} <= set(archive.namelist())
            told = {name: archive.read(name).decode() for name in archive.namelist()}
        everything = "".join(told.values()).lower()
        hidden = (*CANARIES, "a1b2c3", "cafe0001", "second canary", *secrets, server.token)
        for secret in hidden:
            assert secret.lower() not in everything, secret
        assert "ST1" in told["configuration.json"]
        assert json.loads(told["about.json"])["check"] == "ok"
    assert "journal.jsonl" in told
    assert stat.S_IMODE(bundle.stat().st_mode) & 0o077 == 0


# Sessions as JSON


def test_sessions_are_exported_as_json_like_the_api_shows_them(tmp_path: Path) -> None:
    lived_in(tmp_path)
    period = ["--from", "2026-03-01", "--to", "2026-03-01"]
    (session,) = json.loads(llm_app("sessions", "export", "--data", str(tmp_path), *period, "--json").stdout)
    assert (session["transaction_id"], session["badge_name"], session["energy_kwh"]) == (1, "Müller", 8.0)
    none = ["--from", "2026-04-01", "--to", "2026-04-01"]
    assert json.loads(llm_app("sessions", "export", "--data", str(tmp_path), *none, "--json").stdout) == []
    refused("sessions", "export", "--data", "x", "--from", "2025-01-01", "--to", "2026-01-01", code=2, says="one year")


# The first login code


def test_a_device_may_be_delivered_with_a_code_of_its_own(tmp_path: Path) -> None:
    async def sign_in(database: Database) -> None:
        accounts = SqliteAccounts(database, "QX7-4T2-9KL")
        assert type(await accounts.sign_in("admin", "1234", "127.0.0.1")).__name__ == "WrongPassword"
        assert type(await accounts.sign_in("admin", "QX7-4T2-9KL", "127.0.0.1")).__name__ == "WebSession"

    in_database(tmp_path, sign_in)
    refused("server", "--data", str(tmp_path), "--first-login-code", "short", code=2, says="8 characters")


def test_a_name_for_a_user_can_be_shown(tmp_path: Path) -> None:
    for name in ("", " eva", "x" * 65, "e\nva"):
        arguments = ["user", "add", name, "--role", "standard", "--password-stdin", "--data", str(tmp_path)]
        refused(*arguments, code=2, says="a name has", text=PASSWORD + "\n")


def test_the_data_directory_may_be_private_or_not_but_its_files_are(tmp_path: Path) -> None:
    lived_in(tmp_path)
    llm_app("backup", "--data", str(tmp_path), "--output", str(tmp_path / "b.db"))
    for file in tmp_path.iterdir():
        assert not stat.S_IMODE(os.stat(file).st_mode) & 0o077, file


def test_a_file_in_place_of_the_directory_is_told_as_such(tmp_path: Path) -> None:
    lived_in(tmp_path / "data")
    exported, data = tmp_path / "exported.json", tmp_path / "file"
    exported.write_text(llm_app("config", "export", "--data", str(tmp_path / "data")).stdout)
    data.write_text("mine")
    for command in (
        ("token", "create", "--role", "standard"),
        ("config", "import", str(exported)),
        ("restore", str(exported)),
        ("server", "--http", "127.0.0.1:0", "--ocpp", "127.0.0.1:0"),
    ):
        refused(*command, "--data", str(data), code=2, says=f"{data} is no directory")
    assert data.read_text() == "mine"


def test_a_copy_is_written_over_no_directory_and_never_over_the_database(tmp_path: Path) -> None:
    lived_in(tmp_path)
    before = (tmp_path / "llm.db").stat().st_ino
    for command in ("backup", "support-bundle"):
        for output, says in ((tmp_path, "is a directory"), (tmp_path / "llm.db", "is the database itself")):
            refused(command, "--data", str(tmp_path), "--output", str(output), code=2, says=says)
    assert (tmp_path / "llm.db").stat().st_ino == before


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "2026-13-01"])
def test_a_day_outside_the_calendar_of_sessions_is_refused(tmp_path: Path, day: str) -> None:
    refused("sessions", "export", "--from", day, "--to", day, "--data", str(tmp_path), code=2, says=day)
