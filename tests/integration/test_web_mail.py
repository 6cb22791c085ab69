"""E-mail on the system page: set up, tried, and never shown its password again."""

from __future__ import annotations

import re
from datetime import date, timedelta

import attrs
import pytest
from memory_mail import MemoryMail
from test_web_pages import change, signed_in
from web_scene import NOON, PASSWORD, Served, busy

from llm_adapters.web.letters import attention_letter, has_decimal_comma, month_letter, trial_letter
from llm_core import MailSecurity, MailSetup, State

MAIL = {
    "attention": "yes",
    "recipients": "anna@example.org, bea@example.org",
    "host": "mail.example.org",
    "port": "465",
    "security": "tls",
    "sender": "llm@example.org",
    "user": "manager",
    "secret": "Mail-Canary-99",
    "password": PASSWORD,
}


@pytest.fixture
def served(served: Served) -> Served:
    mail_of(served).begin()
    return served


def mail_of(served: Served) -> MemoryMail:
    assert isinstance(served.desk.mail, MemoryMail)
    return served.desk.mail


def test_mail_is_set_up_and_its_password_is_kept_until_it_is_removed(served: Served) -> None:
    mail = mail_of(served)
    with signed_in(served, "administrator") as client:
        assert change(served, client, "/system/mail", MAIL).headers["location"] == "/system?done=saved#mail"
        assert "Mail-Canary-99" not in client.get("/system").text
        change(served, client, "/system/mail", {**MAIL, "secret": "", "enabled": "yes"})
        assert mail.secret == "Mail-Canary-99"
        change(served, client, "/system/mail", {**MAIL, "secret": "", "forget": "yes"})
    recipients = ("anna@example.org", "bea@example.org")
    wanted = MailSetup(
        False, "mail.example.org", 465, MailSecurity.TLS, "manager", "llm@example.org", recipients, attention=True
    )
    assert (mail.present, mail.secret) == (wanted, "")
    assert mail.by == ["administrator"] * 3
    assert mail.tested == 0


def test_a_test_says_why_it_did_not_leave_in_the_readers_language(served: Served) -> None:
    mail = mail_of(served)
    with signed_in(served, "administrator") as client:
        sent = change(served, client, "/system/mail", {**MAIL, "go": "test"})
        assert sent.headers["location"] == "/system?done=mail_sent#mail"
        mail.trouble = "the mail server did not take the message: [Errno 111] Connection refused"
        client.cookies.set("llm_language", "de")
        html = change(served, client, "/system/mail", {**MAIL, "go": "test"}).text
    assert "keine Mail wurde gesendet: der Mailserver nahm die Nachricht nicht an: [Errno 111]" in html
    assert mail.tested == 2


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"recipients": ""}, "must name somebody"),
        ({"recipients": "anna"}, "“anna” is no e-mail address"),
        ({"recipients": ",".join(f"a{n}@example.org" for n in range(21))}, "At most 20 addresses."),
        ({"sender": "llm"}, "An e-mail address has an @."),
        ({"host": ""}, "must be given"),
        ({"port": "0"}, "A whole number from 1 to 65535."),
        ({"secret": "x" * 257}, "At most 256 characters."),
        ({"password": "wrong"}, "Your password is wrong."),
    ],
)
def test_what_is_typed_wrong_is_told_at_its_field_and_nothing_is_saved(
    served: Served, typed: dict[str, str], told: str
) -> None:
    with signed_in(served, "administrator") as client:
        answer = change(served, client, "/system/mail", {**MAIL, **typed})
    assert answer.status_code == 422
    assert told in answer.text
    assert mail_of(served).by == []


def test_mail_that_is_off_needs_nothing_but_a_test_does(served: Served) -> None:
    off = {"port": "587", "security": "starttls", "password": PASSWORD}
    with signed_in(served, "administrator") as client:
        assert change(served, client, "/system/mail", off).status_code == 303
        assert "must be given" in change(served, client, "/system/mail", {**off, "go": "test"}).text
    assert mail_of(served).tested == 0


def speaking(language: str) -> State:
    """The busy site, with this language and its time zone."""
    state = busy()
    system = attrs.evolve(state.site.system, language=language, time_zone="Europe/Berlin")
    return attrs.evolve(state, site=attrs.evolve(state.site, system=system))


def test_the_letter_names_each_alarm_in_the_language_of_the_site() -> None:
    state = speaking("de")
    subject, text = attention_letter(state, NOON)
    assert subject == "2 Punkte brauchen Aufmerksamkeit"
    assert text.index("Bay 7") < text.index("Zähler")
    assert "seit 12:02" in text
    calm_subject, calm = attention_letter(attrs.evolve(state, alarms={}), NOON + timedelta(hours=1))
    assert "alles" in calm_subject
    assert "Parking Kerkstraat" in calm


@pytest.mark.parametrize(
    ("language", "subject", "text"),
    [
        (
            "en",
            "charging sessions, February 2026",
            "2 sessions with 1,234.5 kWh at Parking Kerkstraat in February 2026",
        ),
        ("de", "Ladevorgänge, Februar 2026", "2 Ladevorgänge mit 1.234,5 kWh, Parking Kerkstraat, Februar 2026"),
        ("nl", "laadsessies, februari 2026", "2 laadsessies met 1.234,5 kWh, Parking Kerkstraat, februari 2026"),
        ("fr", "sessions de charge, février 2026", "2 sessions, 1\u202f234,5 kWh, Parking Kerkstraat, février 2026"),
        ("xx", "charging sessions, February 2026", "2 sessions with 1,234.5 kWh"),
    ],
)
def test_the_letter_of_a_month_speaks_the_language_of_the_site(language: str, subject: str, text: str) -> None:
    state = speaking(language)
    assert month_letter(state, date(2026, 2, 1), 2, 1_234_500)[0] == subject
    assert month_letter(state, date(2026, 2, 1), 2, 1_234_500)[1].startswith(text)
    assert has_decimal_comma(state) == (language in ("de", "nl", "fr"))
    assert "Parking Kerkstraat" in trial_letter(state)[1]


def test_a_new_controller_takes_the_language_of_whoever_sets_it_up(served: Served) -> None:
    def offered() -> str:
        with signed_in(served, "administrator") as client:
            html = client.get("/setup/clock", headers={"Accept-Language": "fr"}).text
        return re.findall(r'<option value="(\w+)" selected>', html.partition('id="site-language"')[2])[0]

    assert offered() == "en", "what was chosen stays"
    state = served.book.state
    unknown = attrs.evolve(state.site.system, country="")
    served.book.state = attrs.evolve(state, site=attrs.evolve(state.site, system=unknown))
    assert offered() == "fr"
