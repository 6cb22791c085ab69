"""Signing in and out, and choosing a password: the first login's ceremony included."""

from __future__ import annotations

import asyncio
import hmac
from ipaddress import IPv6Address, ip_address

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import (
    COOKIE,
    Principal,
    identify,
    refuse_forged,
    sign_browser_in,
    sign_browser_out,
)
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import read_fields
from llm_adapters.web.languages import LANGUAGES
from llm_adapters.web.pages import LANGUAGE_COOKIE, own_path, page, page_route, words_for
from llm_core import PasswordRule, SetUpDone, TryLater, WebSession, WrongPassword, broken_rules

YEAR_S = 365 * 24 * 3600


def sign_in_routes(desk: Desk) -> list[Route]:
    """The only routes that are open to somebody who has not signed in."""
    choosing = asyncio.Lock()  # two who race to choose the first password: the second finds the session ended

    async def login(request: Request) -> Response:
        factory = await desk.accounts.is_factory()
        if factory and not _is_near(_address(request)):
            raise HTTPException(403)
        wanted = own_path(request.query_params.get("next", "/"))
        if request.method == "GET":
            return page(request, desk, "login.html", None, factory=factory, next=wanted, message="", name="")
        return await _sign_in(request, desk, factory, wanted)

    async def set_password(request: Request) -> Response:
        async with choosing:
            principal = await identify(request, desk)
            if principal is None or principal.via == "token":
                return RedirectResponse("/login", 303)
            await refuse_forged(request, principal)
            if request.method == "GET":
                return await _ask_for_password(request, desk, principal)
            return await _choose_password(request, desk, principal)

    async def logout(request: Request) -> Response:
        principal = await identify(request, desk)
        response = RedirectResponse("/login", 303)
        if principal is not None:
            await refuse_forged(request, principal)
            await desk.accounts.sign_out(request.cookies.get(COOKIE, ""))
        sign_browser_out(response)
        return response

    async def language(request: Request) -> Response:
        fields = await read_fields(request)
        response = RedirectResponse(own_path(fields.get("next", "/")), 303)
        if fields.get("language") in LANGUAGES:
            response.set_cookie(LANGUAGE_COOKIE, fields["language"], max_age=YEAR_S, samesite="lax")
        return response

    return [
        page_route("/login", login, ["GET", "POST"]),
        page_route("/set-password", set_password, ["GET", "POST"]),
        page_route("/logout", logout, ["POST"]),
        page_route("/language", language, ["POST"]),
    ]


async def _sign_in(request: Request, desk: Desk, factory: bool, wanted: str) -> Response:
    words = words_for(request, desk)
    fields = await read_fields(request)
    name = fields.get("name", "").strip()[:64]
    match await desk.accounts.sign_in(name, fields.get("password", "")[:1024], _address(request)):
        case WebSession() as session:
            response = RedirectResponse("/set-password" if factory or session.user.temporary else wanted, 303)
            sign_browser_in(response, session, secure=request.url.scheme == "https")
            return response
        case WrongPassword():
            status, message = 401, words("The user name or the password is wrong.")
        case TryLater(seconds=seconds):
            status = 429
            message = words.many(
                "Too many attempts. Try again in %(n)s second.",
                "Too many attempts. Try again in %(n)s seconds.",
                seconds,
            )
    return page(
        request, desk, "login.html", None, status_code=status, factory=factory, next=wanted, message=message, name=name
    )


async def _ask_for_password(
    request: Request,
    desk: Desk,
    principal: Principal,
    *,
    status_code: int = 200,
    broken: tuple[PasswordRule, ...] | None = None,
    message: str = "",
) -> Response:
    """The page with the five rules; `broken` None: nothing was typed yet."""
    return page(
        request,
        desk,
        "set_password.html",
        principal,
        status_code=status_code,
        rules=tuple(PasswordRule),
        broken=broken,
        message=message,
        asks_current=not await _is_first(desk, principal),
    )


async def _choose_password(request: Request, desk: Desk, principal: Principal) -> Response:
    words = words_for(request, desk)
    fields = await read_fields(request)
    password = fields.get("password", "")
    broken = broken_rules(password)
    message = ""
    if broken:
        message = words("This password does not keep all five rules.")
    elif not hmac.compare_digest(password.encode(), fields.get("confirm", "").encode()):
        message = words("The two passwords differ.")
    elif not await _is_first(desk, principal) and not await desk.accounts.check_password(
        principal.name, fields.get("current", "")[:1024]
    ):
        message = words("The present password is wrong.")
    if message:
        return await _ask_for_password(request, desk, principal, status_code=422, broken=broken, message=message)
    return await _begin_anew(request, desk, principal, password)


async def _begin_anew(request: Request, desk: Desk, principal: Principal, password: str) -> Response:
    """Store the password, end the factory state, and go on in a session with new secrets."""
    factory = await desk.accounts.is_factory()
    await desk.accounts.set_password(principal.name, password, principal.name)
    if factory:
        desk.inbox.post(SetUpDone())
    await desk.accounts.sign_out(request.cookies.get(COOKIE, ""))
    session = await desk.accounts.sign_in(principal.name, password, _address(request))
    if not isinstance(session, WebSession):
        return RedirectResponse("/login", 303)
    response = RedirectResponse("/setup/clock" if factory else "/?done=password", 303)
    sign_browser_in(response, session, secure=request.url.scheme == "https")
    return response


async def _is_first(desk: Desk, principal: Principal) -> bool:
    """Whether the password just used is one that must be replaced anyway, so that it is not asked for again."""
    return principal.temporary or await desk.accounts.is_factory()


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def _is_near(address: str) -> bool:
    """Whether an address belongs to a private network or this machine: the only ones a factory password works from."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped.is_private
    return parsed.is_private
