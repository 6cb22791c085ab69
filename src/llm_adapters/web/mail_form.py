"""The form of e-mail: through which server, to whom, and what is told. The password is never shown again."""

from __future__ import annotations

import re
from typing import Any

import attrs

from llm_adapters.web.desk import Desk, Mail
from llm_adapters.web.forms import WHOLE_FORM, Form
from llm_adapters.web.told import told_plainly
from llm_adapters.web.words import N_, Words
from llm_core import Fault, MailSecurity, MailSetup, StoreError, mail_faults

YES = "yes"
MOST_RECIPIENTS = 20
LONGEST_SECRET = 256
SECURITIES = {
    MailSecurity.STARTTLS: N_("STARTTLS, usually port 587"),
    MailSecurity.TLS: N_("TLS from the start, usually port 465"),
    MailSecurity.NONE: N_("None: everybody on the way can read it, the password too"),
}


async def mail_look(desk: Desk, words: Words, typed: Form | None) -> dict[str, Any]:
    """What the form shows: as typed, else as stored; no form at all where this controller sends no mail."""
    if desk.mail is None:
        return {"mail": None, "mail_has_password": False, "securities": ()}
    try:
        form = typed or Form(words, mail_fields(await desk.mail.book.setup()))
        has_password = bool(await desk.mail.book.password())
    except StoreError:
        form, has_password = typed or Form(words, mail_fields(MailSetup())), False
    securities = [(value, words(text)) for value, text in SECURITIES.items()]
    return {"mail": form, "mail_has_password": has_password, "securities": securities}


def mail_fields(setup: MailSetup) -> dict[str, str]:
    return {
        "enabled": YES if setup.enabled else "",
        "attention": YES if setup.attention else "",
        "host": setup.host,
        "port": str(setup.port),
        "security": setup.security,
        "user": setup.user,
        "sender": setup.sender,
        "recipients": ", ".join(setup.recipients),
    }


def read_mail(form: Form) -> MailSetup:
    recipients = tuple(one for one in re.split(r"[,;\s]+", form.text("recipients", longest=4_000)) if one)
    setup = MailSetup(
        enabled=form.fields.get("enabled") == YES,
        attention=form.fields.get("attention") == YES,
        host=form.text("host", longest=255),
        port=form.whole("port", 1, 65_535),
        security=form.choice("security", MailSecurity),
        user=form.text("user", longest=200),
        sender=form.text("sender", longest=200),
        recipients=recipients,
    )
    if setup.sender and not _is_address(setup.sender):
        form.take((Fault("/sender", N_("An e-mail address has an @.")),))
    if wrong := [one for one in recipients if not _is_address(one)]:
        form.take((Fault("/recipients", f"“{wrong[0]}” is no e-mail address"),))
    if len(recipients) > MOST_RECIPIENTS:
        form.take((Fault("/recipients", form.words("At most %(n)s addresses.", n=MOST_RECIPIENTS)),))
    wanted = attrs.evolve(setup, enabled=True) if form.fields.get("go") == "test" else setup
    form.take(tuple(mail_faults(wanted)))
    return setup


async def save_mail(mail: Mail, form: Form, by: str) -> bool:
    """Whether it is saved, and, where that was asked for, a test has left; if not, `form` says why."""
    setup, secret = read_mail(form), form.fields.get("secret", "")
    if len(secret) > LONGEST_SECRET:
        form.take((Fault("/secret", form.words("At most %(n)s characters.", n=LONGEST_SECRET)),))
    if form.faults:
        return False
    kept = secret or ("" if form.fields.get("forget") == YES else None)
    try:
        await mail.book.replace(setup, kept, by)
    except StoreError:
        form.take((Fault(WHOLE_FORM, N_("Nothing can be stored at the moment. Try again later.")),))
        return False
    problem = await mail.test() if form.fields.get("go") == "test" else None
    if problem is not None:
        reason = told_plainly(problem, form.words)
        form.take((Fault(WHOLE_FORM, form.words("Saved, but no mail was sent: %(reason)s.", reason=reason)),))
    return problem is None


def _is_address(text: str) -> bool:
    return re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None
