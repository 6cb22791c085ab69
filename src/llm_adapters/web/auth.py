"""Who asks, and whether they may: bearer tokens, browser sessions, permissions, and proof against forged changes."""

from __future__ import annotations

import hmac
from typing import Literal
from urllib.parse import unquote

import attrs
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from llm_adapters.web.desk import Desk
from llm_core import Permission, Role, WebSession, may

COOKIE = "llm_session"
CSRF_HEADER = "X-CSRF-Token"
CSRF_FIELD = "csrf"
CONFIRM_HEADER = "X-Confirm-Password"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@attrs.frozen
class Principal:
    """Somebody who proved who they are. `temporary`: may do nothing but choose a password of their own."""

    name: str
    role: Role
    via: Literal["token", "session"]
    csrf: str = ""
    temporary: bool = False

    def may(self, permission: Permission) -> bool:
        return not self.temporary and may(self.role, permission)


async def identify(request: Request, desk: Desk) -> Principal | None:
    """Who sends this request, or None. A bearer token that is sent decides, good or not; else the session cookie."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme:
        known = await desk.accounts.token(token.strip()) if scheme.lower() == "bearer" else None
        return Principal(f"token “{known.label}”", known.role, "token") if known is not None else None
    cookie = request.cookies.get(COOKIE)
    session = await desk.accounts.web_session(cookie) if cookie else None
    if session is None:
        return None
    return Principal(session.user.name, session.user.role, "session", session.csrf, session.user.temporary)


async def require(request: Request, desk: Desk, permission: Permission) -> Principal:
    """The sender, who is known, has `permission`, and meant this change.

    Raises `HTTPException`: 401 unknown; 403 factory state, temporary password, missing permission, or a change
    through a browser session without its CSRF token (header `X-CSRF-Token` or form field `csrf`).
    """
    if await desk.accounts.is_factory():
        raise HTTPException(403, "Choose a password for the administrator first.")
    principal = await identify(request, desk)
    if principal is None:
        raise HTTPException(401, "Sign in, or send a bearer token.", {"WWW-Authenticate": "Bearer"})
    if principal.temporary:
        raise HTTPException(403, "Replace the temporary password first.")
    if not principal.may(permission):
        raise HTTPException(403, f"The role “{principal.role}” does not include this.")
    await refuse_forged(request, principal)
    return principal


async def refuse_forged(request: Request, principal: Principal) -> None:
    """Raise `HTTPException` 403 when a browser session asks for a change without its CSRF token."""
    if principal.via == "token" or request.method in SAFE_METHODS:
        return
    sent = request.headers.get(CSRF_HEADER)
    if sent is None and request.headers.get("content-type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        field = (await request.form()).get(CSRF_FIELD)
        sent = field if isinstance(field, str) else None
    if sent is None or not hmac.compare_digest(sent.encode(), principal.csrf.encode()):
        raise HTTPException(403, "This change did not come from a page of this controller. Reload the page.")


async def refuse_unconfirmed(request: Request, desk: Desk, principal: Principal) -> None:
    """Raise `HTTPException` 403 when a browser session asks for a critical change without the password again."""
    if principal.via == "token":
        return
    given = unquote(request.headers.get(CONFIRM_HEADER, ""))
    if not given or not await desk.accounts.check_password(principal.name, given[:1024]):
        raise HTTPException(403, f"Enter your password again (header {CONFIRM_HEADER}, percent-encoded).")


def sign_browser_in(response: Response, session: WebSession, *, secure: bool) -> None:
    """Hand the session's secret to the browser, out of reach of scripts and of other sites."""
    response.set_cookie(COOKIE, session.cookie, path="/", httponly=True, samesite="strict", secure=secure)


def sign_browser_out(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
