"""What every request passes before a page sees it: host, origin; and what every response carries on its way out."""

from __future__ import annotations

import re

import attrs
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llm_adapters.web.auth import SAFE_METHODS

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SAFE_FETCH_SITES = frozenset({"same-origin", "none"})


@attrs.frozen
class Gate:
    """Refuses foreign host names (a rebound DNS name) and changes asked for by foreign pages; adds security headers.

    Caches may keep what lies under `/static/` if they ask whether it is still good, and nothing else.
    """

    app: ASGIApp
    allowed_hosts: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                outgoing = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    outgoing[name] = value
                cached = "no-cache" if scope["path"].startswith("/static/") else "no-store"
                outgoing.setdefault("Cache-Control", cached)
            await send(message)

        host = headers.get("host", "")
        if host_name(host) not in self.allowed_hosts:
            refusal = PlainTextResponse("This controller does not answer to that host name.", 400)
            await refusal(scope, receive, send_guarded)
        elif scope["method"] not in SAFE_METHODS and not _is_own(headers, host):
            refusal = PlainTextResponse("This change was asked for by a page of another site.", 403)
            await refusal(scope, receive, send_guarded)
        else:
            await self.app(scope, receive, send_guarded)


def host_name(host: str) -> str:
    """The name or address of a `Host` header, in lower case, without port and brackets; empty when malformed."""
    match = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^\s:@/?#\[\]]+))(?::\d{1,5})?", host.lower())
    return (match[1] or match[2]) if match is not None else ""


def _is_own(headers: Headers, host: str) -> bool:
    """Programs send no `Origin`; browsers send the page's own, which must be this very host and port."""
    if headers.get("sec-fetch-site", "same-origin") not in SAFE_FETCH_SITES:
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2].lower() == host.lower()
