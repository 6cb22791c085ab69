"""E-mail over HTTP: the monthly export, what needs attention, and whether it works."""

from __future__ import annotations

import attrs
from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import BOOLEAN, Json, Member, Record, Wrong, listed, nullable, text, whole, word
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.shapes import email
from llm_adapters.web.desk import Mail
from llm_core import MailSecurity, MailSetup, Permission, mail_faults

_SECRET = text(256)
_MAIL: Record[MailSetup] = Record(
    Member("enabled", "enabled", BOOLEAN),
    Member("host", "host", text(255)),
    Member("port", "port", whole(1, 65_535)),
    Member("security", "security", word(MailSecurity)),
    Member("user", "user", text(200)),
    Member("sender", "sender", email(200)),
    Member("recipients", "recipients", listed(email(200), 20)),
    Member("attention", "attention", BOOLEAN),
    Member("password", None, nullable(_SECRET)),
)


async def _show(call: Call) -> Response:
    return JsonResponse(await _shown(_mail(call)))


async def _replace(call: Call) -> Response:
    """`password` null keeps the present one, an empty one removes it; it is never read back."""
    body = await call.json()
    setup = _MAIL.read(body, MailSetup())
    faults = tuple(mail_faults(setup))
    if faults:
        raise Wrong(*faults)
    given = body.get("password") if isinstance(body, dict) else None
    mail = _mail(call)
    await mail.book.replace(setup, given if isinstance(given, str) else None, call.principal.name)
    return JsonResponse(await _shown(mail))


async def _test(call: Call) -> Response:
    mail = _mail(call)
    setup = await mail.book.setup()
    faults = tuple(mail_faults(attrs.evolve(setup, enabled=True)))
    if faults:
        raise Refusal(409, "Set the mail server, the sender and the recipients first.", faults)
    problem = await mail.test()
    if problem is not None:
        raise Refusal(502, f"No mail was sent: {problem}.")
    return JsonResponse({"sent_to": list(setup.recipients)})


async def _shown(mail: Mail) -> dict[str, Json]:
    shown = _MAIL.write(await mail.book.setup())
    return {**shown, "password": None, "password_set": bool(await mail.book.password())}


def _mail(call: Call) -> Mail:
    if call.desk.mail is None:
        raise Refusal(404, "This controller sends no mail.")
    return call.desk.mail


_ADMINISTER = Permission.ADMINISTER
OPERATIONS = (
    Operation(
        "GET", "/mail", _ADMINISTER, "E-mail: the monthly export, and what needs attention.", _show, gives=_MAIL.schema
    ),
    Operation(
        "PUT",
        "/mail",
        _ADMINISTER,
        "Replace it; password null keeps the present one.",
        _replace,
        takes=_MAIL.schema,
        critical=True,
    ),
    Operation("POST", "/mail/test", _ADMINISTER, "Send a test message to all recipients.", _test),
)
