"""The monthly export by e-mail, through a mail server on loopback: once a month, whole, and its password kept."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import sqlite3
import ssl
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from patience import PATIENCE_S
from server_process import Server
from test_api import admin, house, pointers, problem, served
from test_sqlite_store import SteadyClock, ended

from llm_adapters.mail import MailError, message, send
from llm_adapters.sqlite import Database, SqliteStore
from llm_adapters.sqlite.mail import SqliteMail
from llm_app.mailing import Mailer
from llm_core import Alarm, AlarmCode, MailSecurity, MailSetup, Site, State, System

__all__ = ["admin", "house", "served"]

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")  # on loopback
PASSWORD = "Mail-Canary-99"
USER = "manager"


class PostOffice:
    """Keeps what it is given; refuses whom it is told to."""

    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.refuses = ""

    async def handle_RCPT(self, _: Any, __: Any, envelope: Envelope, address: str, ___: Any) -> str:
        if address == self.refuses:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _: Any, __: Any, envelope: Envelope) -> str:
        self.letters.append(message_from_bytes(envelope.content))  # type: ignore[arg-type]
        return "250 kept"


def authenticate(_: Any, __: Any, ___: Any, ____: Any, login: Any) -> AuthResult:
    assert isinstance(login, LoginPassword)
    return AuthResult(handled=False, success=(login.login, login.password) == (USER.encode(), PASSWORD.encode()))


@pytest.fixture
def office() -> Any:
    office = PostOffice()
    with socket.socket() as free:  # the library asks for a number
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Controller(
        office, hostname="127.0.0.1", port=port, authenticator=authenticate, auth_require_tls=False, auth_required=True
    )
    server.start()
    yield office, port
    server.stop()


def setup_at(port: int, **changes: Any) -> MailSetup:
    usual = MailSetup(
        True, "127.0.0.1", port, MailSecurity.NONE, USER, "llm@example.org", ("anna@example.org", "bea@example.org")
    )
    return attrs.evolve(usual, **changes)


class Quiet:
    """An inbox that only knows."""

    state = State(site=Site())

    def post(self, event: object) -> None:
        raise AssertionError(event)

    async def ask(self, event: object) -> Any:
        raise AssertionError(event)


def with_mailer(folder: Path, work: Callable[[Mailer, SteadyClock], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        clock = SteadyClock()
        database = await Database.open(folder, clock)
        store = SqliteStore(database)
        await store.commit(
            [ended(1, datetime(2026, 2, 28, 22, tzinfo=UTC)), ended(2, datetime(2026, 3, 1, tzinfo=UTC))]
        )
        try:
            await work(Mailer(SqliteMail(database), store, Quiet(), clock), clock)  # type: ignore[arg-type]
        finally:
            await database.close()

    asyncio.run(inside())


def test_last_months_sessions_are_sent_once(tmp_path: Path, office: tuple[PostOffice, int]) -> None:
    post, port = office

    async def month_by_month(mailer: Mailer, clock: SteadyClock) -> None:
        assert await mailer.send_if_due() is None, "it is off until it is set up"
        await mailer.book.replace(setup_at(port), PASSWORD, "anna")
        assert await mailer.send_if_due() == "2026-02"
        assert await mailer.send_if_due() is None
        clock.now += timedelta(days=31)
        assert await mailer.send_if_due() == "2026-03"

    with_mailer(tmp_path, month_by_month)
    first, second = post.letters
    assert first["To"] == "anna@example.org, bea@example.org"
    (_, attached) = first.get_payload()  # type: ignore[misc]
    assert attached.get_filename() == "sessions_2026-02.csv"  # type: ignore[union-attr]
    lines = attached.get_payload(decode=True).decode().splitlines()  # type: ignore[union-attr]
    assert [line.split(",")[0] for line in lines] == ["transactionId", "1"]
    assert second["Subject"].endswith("sessions, March 2026")


def test_the_month_and_a_test_arrive_in_the_language_of_the_site(
    tmp_path: Path, office: tuple[PostOffice, int]
) -> None:
    post, port = office

    async def in_dutch(mailer: Mailer, clock: SteadyClock) -> None:
        inbox = Quiet()
        inbox.state = State(site=Site(system=System("Kerkstraat 12", language="nl", time_zone="Europe/Amsterdam")))
        mailer = Mailer(mailer.book, mailer._archive, inbox, clock)  # type: ignore[arg-type]
        await mailer.book.replace(setup_at(port), PASSWORD, "anna")
        assert await mailer.test() is None
        assert await mailer.send_if_due() == "2026-02"

    with_mailer(tmp_path, in_dutch)
    trial, month = post.letters
    assert trial["Subject"] == "Kerkstraat 12: een proef"
    assert "van Kerkstraat 12" in str(trial.get_payload(decode=True), "utf-8")
    assert month["Subject"] == "Kerkstraat 12: laadsessies, februari 2026"
    text, table = (part.get_payload(decode=True).decode() for part in month.get_payload())  # type: ignore[union-attr]
    lines = table.splitlines()
    assert text.startswith("1 laadsessie met ")
    assert lines[0].startswith("transactionId;evcsId;")
    assert re.search(r";\d+,\d{3};", lines[1])


def test_what_could_not_be_sent_is_sent_later(tmp_path: Path, office: tuple[PostOffice, int]) -> None:
    post, port = office

    async def with_trouble(mailer: Mailer, _: SteadyClock) -> None:
        await mailer.book.replace(setup_at(port), "wrong", "anna")
        with pytest.raises(MailError, match="user name and password"):
            await mailer.send_if_due()
        assert "user name" in str(await mailer.test())
        await mailer.book.replace(setup_at(port), PASSWORD, "anna")
        post.refuses = "anna@example.org"
        assert await mailer.send_if_due() == "2026-02", "the others have it, and get it once"
        assert await mailer.send_if_due() is None
        await mailer.book.replace(setup_at(port, recipients=("anna@example.org",)), PASSWORD, "anna")
        assert "nobody of that name" in str(await mailer.test())

    with_mailer(tmp_path, with_trouble)


def test_a_server_that_is_not_there_or_does_not_encrypt_gets_nothing(office: tuple[PostOffice, int]) -> None:
    post, port = office
    mail = message(setup_at(port), "subject", "text", datetime(2026, 3, 1, tzinfo=UTC))
    for wrong in (
        setup_at(1),
        setup_at(port, security=MailSecurity.STARTTLS),
        setup_at(port, security=MailSecurity.TLS),
        setup_at(port, host="no such host"),
    ):
        with pytest.raises(MailError):
            send(wrong, PASSWORD, mail, ssl.create_default_context())
    assert post.letters == []
    assert issubclass(smtplib.SMTPException, OSError)


def test_a_subject_cannot_smuggle_in_a_header() -> None:
    site = attrs.evolve(setup_at(1), sender="llm@example.org")
    with pytest.raises(ValueError, match=r"newline|linefeed"):
        message(site, "x\r\nBcc: eve@example.org", "text", datetime(2026, 3, 1, tzinfo=UTC))


def test_the_password_is_kept_apart_and_audited_without_it(tmp_path: Path) -> None:
    async def change(mailer: Mailer, _: SteadyClock) -> None:
        await mailer.book.replace(setup_at(25), PASSWORD, "anna")
        await mailer.book.replace(setup_at(26), None, "anna")
        assert await mailer.book.password() == PASSWORD
        assert (await mailer.book.setup()).port == 26
        await mailer.book.replace(setup_at(26), "", "anna")
        assert await mailer.book.password() == ""

    with_mailer(tmp_path, change)
    rows = sqlite3.connect(tmp_path / "llm.db").execute("SELECT by, what, old || new FROM audit").fetchall()
    assert [(by, what) for by, what, _ in rows] == [("anna", "mail")] * 3
    assert PASSWORD not in str(rows)


# Over HTTP


def test_a_set_up_that_makes_no_sense_is_refused_before_anything_is_kept(admin: httpx.Client) -> None:
    given = {"enabled": True, "host": "mail.example", "sender": "a@example.org", "recipients": ["b@example.org"]}
    assert pointers(admin.put("/api/v1/mail", json={**given, "password": 7})) == ["/password"]
    assert pointers(admin.put("/api/v1/mail", json={"enabled": True})) == ["/host", "/sender", "/recipients"]
    assert pointers(admin.put("/api/v1/mail", json={**given, "recipients": ["nobody"]})) == ["/recipients/0"]
    problem(admin.get("/api/v1/mail"), 404)  # this scene has no mail at all


def test_the_set_up_is_read_back_without_its_password(tmp_path: Path, office: tuple[PostOffice, int]) -> None:
    post, port = office
    server = Server(tmp_path)
    try:
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(
            base_url=f"{server.http}/api/v1", headers=headers, timeout=PATIENCE_S, trust_env=False
        ) as api:
            assert api.get("/mail").json()["password_set"] is False
            assert api.post("/mail/test").status_code == 409
            given = {
                "host": "127.0.0.1",
                "port": port,
                "security": "none",
                "user": USER,
                "sender": "a@example.org",
                "recipients": ["b@example.org"],
            }
            shown = api.put("/mail", json={**given, "password": PASSWORD}).json()
            assert shown == {"enabled": False, "attention": False, **given, "password": None, "password_set": True}
            assert api.post("/mail/test").json() == {"sent_to": ["b@example.org"]}
            assert len(post.letters) == 1
            assert api.put("/mail", json={**given, "port": 1}).json()["password_set"] is True
            assert api.post("/mail/test").status_code == 502
    finally:
        server.stop()
    assert PASSWORD not in server.log()


def test_what_needs_attention_is_told_and_so_is_its_end(tmp_path: Path, office: tuple[PostOffice, int]) -> None:
    post, port = office
    silent = Alarm(AlarmCode.METER_SILENT, "site", datetime(2026, 3, 1, tzinfo=UTC))

    class Troubled(Quiet):
        state = State(site=Site(), alarms={(silent.code, silent.subject): silent})

    async def with_trouble(mailer: Mailer, clock: SteadyClock) -> None:
        inbox = Troubled()
        mailer = Mailer(mailer.book, mailer._archive, inbox, clock)  # type: ignore[arg-type]
        assert not await mailer.tell_if_needed(), "it is off until it is set up"
        await mailer.book.replace(setup_at(port, enabled=False, attention=True), "wrong", "anna")
        with pytest.raises(MailError):
            await mailer.tell_if_needed()
        assert not await mailer.tell_if_needed(), "it is not tried twice in a quarter of an hour"
        clock.now += timedelta(minutes=15)
        await mailer.book.replace(setup_at(port, enabled=False, attention=True), PASSWORD, "anna")
        assert await mailer.tell_if_needed()
        clock.now += timedelta(minutes=15)
        assert not await mailer.tell_if_needed()
        inbox.state = State(site=Site())
        assert await mailer.tell_if_needed()

    with_mailer(tmp_path, with_trouble)
    told, over = post.letters
    assert told["Subject"].endswith("1 thing needs attention")
    assert "The meter of the building is silent" in str(told.get_payload(decode=True), "utf-8")
    assert over["Subject"].endswith("all is well again")
