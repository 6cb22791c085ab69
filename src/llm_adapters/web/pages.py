"""How a page is made: who may see it, in which language, and the frame that all pages share."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import attrs
import jinja2
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.addresses import cluster_path, station_path
from llm_adapters.web.auth import Principal, identify, refuse_forged
from llm_adapters.web.desk import Desk
from llm_adapters.web.languages import LANGUAGES, choose_language
from llm_adapters.web.words import N_, Words
from llm_core import Permission

MOST_BODY_BYTES = 1 << 20
LANGUAGE_COOKIE = "llm_language"
CONFIGURATION = "configuration"
"""The second row of the menu: what an administrator sets once and then leaves alone."""


@attrs.frozen
class Entry:
    """A line of the menu; those of one `group` share a place in its first row."""

    path: str
    text: str
    permission: Permission
    group: str = ""

    def holds(self, path: str) -> bool:
        return path == self.path or (self.path != "/" and path.startswith(f"{self.path}/"))


MENU = (
    Entry("/", N_("Overview"), Permission.SEE_DASHBOARD),
    Entry("/sessions", N_("Sessions"), Permission.SEE_DASHBOARD),
    Entry("/history", N_("History"), Permission.SEE_DASHBOARD),
    Entry("/stations", N_("Charging stations"), Permission.ADMINISTER),
    Entry("/badges", N_("Charging authorisation"), Permission.MANAGE_BADGES),
    Entry("/support", N_("Support"), Permission.SEE_DASHBOARD),
    Entry("/settings", N_("General settings"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/clusters", N_("Clusters"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/strategy", N_("Load shedding strategy"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/limits", N_("External limits"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/uplink", N_("Charge point operator"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/users", N_("User management"), Permission.CREATE_STANDARD_USERS, CONFIGURATION),
    Entry("/system", N_("System settings"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/audit", N_("Changes"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/decisions", N_("Decisions"), Permission.ADMINISTER, CONFIGURATION),
    Entry("/tutorial", N_("Configuration tutorial"), Permission.ADMINISTER, CONFIGURATION),
)
TOASTS = {
    "saved": N_("Saved."),
    "adopted": N_("The station is adopted."),
    "ahead": N_("The station is known; it is accepted as soon as it connects."),
    "removed": N_("The station is removed."),
    "cluster_removed": N_("The cluster is removed."),
    "badge": N_("The badge is saved."),
    "limit": N_("The limit is saved."),
    "wish": N_("The wish is saved."),
    "mail_sent": N_("Saved, and a test mail was sent. Look whether it arrives."),
    "restored": N_("The controller is back. Sign in with a name and a password of the backup."),
    "lifted": N_("The limit is lifted."),
    "wrong_password": N_("Your password is wrong."),
    "not_written": N_("The file could not be written; the disk may be full."),
    "user": N_("The user is saved."),
    "token_revoked": N_("The token opens nothing any more."),
    "password": N_("The new password holds from now on."),
}
BAD_NEWS = frozenset({"wrong_password", "not_written"})
Endpoint = Callable[[Request], Awaitable[Response]]
View = Callable[[Request, Principal], Awaitable[Response]]

_templates = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals.update(station_path=station_path, cluster_path=cluster_path)


def words_for(request: Request, desk: Desk) -> Words:
    """The words for this reader, with times of the site's zone."""
    system = desk.inbox.state.site.system
    accepted = request.headers.get("accept-language", "")
    chosen = request.cookies.get(LANGUAGE_COOKIE)
    return Words(choose_language(chosen, accepted, system.language), system.time_zone)


def render(template: str, words: Words, **values: object) -> str:
    """A template in the reader's words: `_` and `n_` translate, `w` formats."""
    return _templates.get_template(template).render(_=words, n_=words.many, w=words, **values)


def page(
    request: Request,
    desk: Desk,
    template: str,
    principal: Principal | None,
    *,
    status_code: int = 200,
    **values: object,
) -> HTMLResponse:
    """A whole page. `principal` None: nobody is signed in, so the frame shows no menu."""
    state = desk.inbox.state
    path = request.url.path
    menu = tuple(entry for entry in MENU if principal is not None and principal.may(entry.permission))
    here = next((entry for entry in menu if entry.holds(path)), None)
    second = tuple(entry for entry in menu if entry.group) if here is not None and here.group else ()
    words = words_for(request, desk)
    html = render(
        template,
        words,
        site=state.site,
        alarm_count=len(state.alarms),
        principal=principal,
        menu=menu,
        here=here,
        second=second,
        path=path,
        languages=LANGUAGES,
        version=desk.version,
        toast=_toast(request, words),
        toast_kind="attention" if request.query_params.get("done") in BAD_NEWS else "done",
        **values,
    )
    return HTMLResponse(html, status_code)


def _toast(request: Request, words: Words) -> str:
    """What has just been done, as the address tells it."""
    done, count = request.query_params.get("done", ""), request.query_params.get("n", "")
    if done == "imported" and re.fullmatch(r"[0-9]{1,6}", count):
        return words.many("%(n)s badge added.", "%(n)s badges added.", int(count))
    return words(TOASTS.get(done, ""))


def page_route(
    path: str, endpoint: Endpoint, methods: list[str] | None = None, *, max_body_size: int = MOST_BODY_BYTES
) -> Route:
    """A route for people, whose forms are small."""
    return Route(path, endpoint, methods=methods or ["GET"], max_body_size=max_body_size)


def guarded(
    desk: Desk,
    path: str,
    permission: Permission,
    view: View,
    methods: list[str] | None = None,
    *,
    max_body_size: int = MOST_BODY_BYTES,
) -> Route:
    """A route for those who may: others are led to the sign-in page, or told calmly that they may not."""

    async def endpoint(request: Request) -> Response:
        principal = await identify(request, desk)
        if principal is None or await desk.accounts.is_factory():
            return to_sign_in(request)
        if principal.temporary:
            return RedirectResponse("/set-password", 303)
        if not principal.may(permission):
            raise HTTPException(403)
        await refuse_forged(request, principal)
        return await view(request, principal)

    return page_route(path, endpoint, methods, max_body_size=max_body_size)


def to_sign_in(request: Request) -> Response:
    """To the sign-in page, and back here afterwards."""
    back = f"?next={quote(request.url.path)}" if request.method == "GET" and request.url.path != "/" else ""
    return RedirectResponse(f"/login{back}", 303)


def own_path(wanted: str) -> str:
    """`wanted` if it is a path on this very host, else the overview: nobody is led elsewhere after signing in."""
    return wanted if re.fullmatch(r"/(?![/\\])[\w\-./~%]*", wanted, re.ASCII) else "/"
