"""The users and the API tokens: who may come in. Whoever changes them proves that it is them."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields
from llm_adapters.web.pages import guarded, page, words_for
from llm_adapters.web.settings import ask_for_password
from llm_adapters.web.words import N_, ROLE_HELP, ROLES
from llm_core import Fault, Permission, Role, User, broken_rules, may_create

LONGEST_NAME = 64
_ADMINISTER = Permission.ADMINISTER


def user_routes(desk: Desk) -> list[Route]:
    async def index(request: Request, principal: Principal) -> Response:
        words = words_for(request, desk)
        if request.method == "GET":
            return await _show(request, desk, principal, Form(words, {"role": Role.STANDARD}))
        form = Form(words, await read_fields(request))
        if await _added(desk, form, principal):
            return RedirectResponse("/users?done=user", 303)
        return await _show(request, desk, principal, form)

    async def change(request: Request, principal: Principal) -> Response:
        """Another role, a new temporary password, or away with them."""
        form = Form(words_for(request, desk), await read_fields(request))
        user = next((user for user in await desk.accounts.users() if user.name == form.fields.get("name")), None)
        if user is None:
            raise HTTPException(404)
        await ask_for_password(desk, form, principal)
        if not form.faults:
            await _changed(desk, form, principal, user)
        if not form.faults:
            return RedirectResponse("/users?done=user", 303)
        return await _show(request, desk, principal, form, user)

    async def one(request: Request, principal: Principal) -> Response:
        name = request.query_params.get("name", "")
        user = next((user for user in await desk.accounts.users() if user.name == name), None)
        if user is None:
            raise HTTPException(404)
        form = Form(words_for(request, desk), {"name": user.name, "role": user.role})
        return await _show(request, desk, principal, form, user)

    async def token(request: Request, principal: Principal) -> Response:
        """A new token is shown once, on the answer itself."""
        form = Form(words_for(request, desk), await read_fields(request))
        label, role = form.text("label", longest=LONGEST_NAME), form.choice("role", Role)
        if not label or any(known.label == label for known in await desk.accounts.tokens()):
            form.take((Fault("/label", N_("Give it a name that no other token has.")),))
        await ask_for_password(desk, form, principal)
        if form.faults:
            return await _show(request, desk, principal, form)
        secret = await desk.accounts.create_token(role, label, principal.name)
        return await _show(request, desk, principal, Form(form.words, {"role": Role.STANDARD}), secret=secret)

    async def revoke(request: Request, principal: Principal) -> Response:
        form = Form(words_for(request, desk), await read_fields(request))
        await ask_for_password(desk, form, principal)
        if form.faults:
            return await _show(request, desk, principal, form)
        if not await desk.accounts.revoke_token(form.fields.get("label", ""), principal.name):
            raise HTTPException(404)
        return RedirectResponse("/users?done=token_revoked", 303)

    return [
        guarded(desk, "/users", Permission.CREATE_STANDARD_USERS, index, ["GET", "POST"]),
        guarded(desk, "/users/edit", _ADMINISTER, one),
        guarded(desk, "/users/change", _ADMINISTER, change, ["POST"]),
        guarded(desk, "/users/token", _ADMINISTER, token, ["POST"]),
        guarded(desk, "/users/revoke", _ADMINISTER, revoke, ["POST"]),
    ]


async def _added(desk: Desk, form: Form, principal: Principal) -> bool:
    name, role = form.text("name", longest=LONGEST_NAME), form.choice("role", Role)
    if not name:
        form.take((Fault("/name", N_("Give it a name.")),))
    if not may_create(principal.role, role):
        form.take((Fault("/role", N_("You may create standard users only.")),))
    _new_password(form)
    await ask_for_password(desk, form, principal)
    if form.faults:
        return False
    if await desk.accounts.add_user(User(name, role, temporary=True), form.fields["new"], principal.name):
        return True
    form.take((Fault("/name", N_("There is a user of this name already.")),))
    return False


async def _changed(desk: Desk, form: Form, principal: Principal, user: User) -> None:
    only = N_("This is the only administrator.")
    match form.fields.get("go"):
        case "remove" if user.name == principal.name:
            form.take((Fault("", N_("Nobody removes their own account.")),))
        case "remove":
            if not await desk.accounts.remove_user(user.name, principal.name):
                form.take((Fault("", only),))
        case "password":
            _new_password(form)
            if not form.faults:
                await desk.accounts.set_password(user.name, form.fields["new"], principal.name, temporary=True)
        case _:
            role = form.choice("role", Role)
            if not form.faults and not await desk.accounts.set_role(user.name, role, principal.name):
                form.take((Fault("/role", only),))


def _new_password(form: Form) -> None:
    typed = form.fields.get("new", "")
    broken = broken_rules(typed)
    if broken:
        missing = ", ".join(form.words.password_rule(rule) for rule in broken)
        form.take((Fault("/new", form.words("It still needs: %(missing)s.", missing=missing)),))
    elif form.fields.get("confirm") != typed:
        form.take((Fault("/confirm", N_("The two passwords differ.")),))


async def _show(
    request: Request, desk: Desk, principal: Principal, form: Form, user: User | None = None, secret: str = ""
) -> Response:
    words = form.words
    is_administrator = principal.may(_ADMINISTER)
    creatable = [role for role in Role if may_create(principal.role, role)]
    return page(
        request,
        desk,
        "user.html" if user is not None else "users.html",
        principal,
        status_code=422 if form.faults else 200,
        form=form,
        user=user,
        users=await desk.accounts.users() if is_administrator else (),
        tokens=await desk.accounts.tokens() if is_administrator else (),
        is_administrator=is_administrator,
        roles=[(role, words(ROLES[role]), words(ROLE_HELP[role])) for role in creatable],
        secret=secret,
    )
