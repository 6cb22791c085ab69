"""One message through one server: encrypted as asked for, never less."""

from __future__ import annotations

import smtplib
import ssl
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

from llm_core import MailSecurity, MailSetup

DEADLINE_S = 30.0


class MailError(Exception):
    """The server did not take the message; the text says why, without any secret."""


def message(
    setup: MailSetup, subject: str, text: str, at: datetime, *, name: str = "", content: str = ""
) -> EmailMessage:
    """A message to all recipients, with a file of this name when there is one."""
    mail = EmailMessage()
    mail["Subject"] = subject
    mail["From"] = setup.sender
    mail["To"] = ", ".join(setup.recipients)
    mail["Date"] = format_datetime(at)
    mail["Message-ID"] = make_msgid(domain=setup.sender.rpartition("@")[2] or "localhost")
    mail.set_content(text)
    if name:
        mail.add_attachment(content.encode(), maintype="text", subtype="csv", filename=name)
    return mail


def send(setup: MailSetup, password: str, mail: EmailMessage, trust: ssl.SSLContext | None = None) -> tuple[str, ...]:
    """Hand the message to the server; gives the recipients that it does not know, unless it knows none.

    `trust` None: the certificates that this machine trusts. Raises `MailError`.
    """
    try:
        if setup.security is MailSecurity.TLS:
            context = trust or ssl.create_default_context()
            link: smtplib.SMTP = smtplib.SMTP_SSL(setup.host, setup.port, timeout=DEADLINE_S, context=context)
        else:
            link = smtplib.SMTP(setup.host, setup.port, timeout=DEADLINE_S)
        with link:
            if setup.security is MailSecurity.STARTTLS:
                link.starttls(context=trust or ssl.create_default_context())
            if setup.user:
                link.login(setup.user, password)
            refused = link.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise MailError("the mail server does not accept the user name and password") from error
    except (smtplib.SMTPException, OSError, UnicodeError) as error:
        raise MailError(f"the mail server did not take the message: {error}") from error
    return tuple(sorted(refused))
