"""Users and API tokens over HTTP. A browser is asked for the password again before any of them is changed."""

from __future__ import annotations

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Wrong
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.shapes import CHANGED_USER, NEW_TOKEN, NEW_USER, ChangedUser, NewToken, NewUser
from llm_adapters.web.api.views import stamp
from llm_adapters.web.words import PASSWORD_RULES
from llm_core import Fault, Permission, Role, Token, User, broken_rules, may_create


async def _list(call: Call) -> Response:
    return JsonResponse([_shown(user) for user in await call.desk.accounts.users()])


async def _add(call: Call) -> Response:
    given = NEW_USER.read(await call.json(), NewUser())
    if not may_create(call.principal.role, given.role):
        raise Refusal(403, f"The role “{call.principal.role}” creates standard users only.")
    _refuse_weak(given.password)
    user = User(given.name, given.role, temporary=True)
    if not await call.desk.accounts.add_user(user, given.password, by=call.principal.name):
        raise Refusal(409, f"There is a user “{user.name}” already.", (Fault("/name", "is taken"),))
    return JsonResponse(_shown(user), 201)


async def _change(call: Call) -> Response:
    """Another role, another (temporary) password, or both."""
    given = CHANGED_USER.read(await call.json(), ChangedUser())
    user = await _known(call)
    if given.password is not None:
        _refuse_weak(given.password)
    if given.role is not None and not await call.desk.accounts.set_role(user.name, given.role, call.principal.name):
        raise Refusal(409, f"“{user.name}” is the only administrator.", (Fault("/role", "must stay administrator"),))
    if given.password is not None:
        await call.desk.accounts.set_password(user.name, given.password, call.principal.name, temporary=True)
    return JsonResponse(_shown(await _known(call)))


async def _remove(call: Call) -> Response:
    user = await _known(call)
    if call.principal.via == "session" and user.name == call.principal.name:
        raise Refusal(409, "Nobody removes their own account.")
    if not await call.desk.accounts.remove_user(user.name, call.principal.name):
        raise Refusal(409, f"“{user.name}” is the only administrator.")
    return Response(status_code=204)


async def _known(call: Call) -> User:
    name = call.named("name")
    for user in await call.desk.accounts.users():
        if user.name.casefold() == name.casefold():
            return user
    raise Refusal(404, f"There is no user “{name}”.")


def _refuse_weak(password: str) -> None:
    broken = broken_rules(password)
    if broken:
        missing = ", ".join(PASSWORD_RULES[rule] for rule in broken)
        raise Wrong(Fault("/password", f"needs {missing}"))


def _shown(user: User) -> Json:
    return {"name": user.name, "role": user.role, "temporary": user.temporary}


async def _tokens(call: Call) -> Response:
    return JsonResponse([_shown_token(token) for token in await call.desk.accounts.tokens()])


async def _create_token(call: Call) -> Response:
    given = NEW_TOKEN.read(await call.json(), NewToken())
    if any(known.label == given.label for known in await call.desk.accounts.tokens()):
        raise Refusal(409, f"There is a token “{given.label}” already.", (Fault("/label", "is taken"),))
    secret = await call.desk.accounts.create_token(given.role, given.label, call.principal.name)
    return JsonResponse({"token": secret, "label": given.label, "role": given.role}, 201)


async def _revoke_token(call: Call) -> Response:
    label = call.named("label")
    if not await call.desk.accounts.revoke_token(label, call.principal.name):
        raise Refusal(404, f"There is no token “{label}”.")
    return Response(status_code=204)


def _shown_token(token: Token) -> Json:
    return {"label": token.label, "role": token.role, "created_at": stamp(token.created_at)}


_ADMINISTER = Permission.ADMINISTER
_USER, _TOKEN = "/users/{name}", "/tokens/{label}"
_ROLES = ", ".join(Role)
OPERATIONS = (
    Operation("GET", "/users", _ADMINISTER, "All users.", _list),
    Operation(
        "POST",
        "/users",
        Permission.CREATE_STANDARD_USERS,
        "Add a user with a temporary password; an advanced user adds standard users only.",
        _add,
        takes=NEW_USER.schema,
        success=201,
        critical=True,
    ),
    Operation(
        "PATCH",
        _USER,
        _ADMINISTER,
        "Give a user another role, or a new temporary password; ends their sessions.",
        _change,
        takes=CHANGED_USER.schema,
        critical=True,
    ),
    Operation("DELETE", _USER, _ADMINISTER, "Remove a user.", _remove, success=204, critical=True),
    Operation("GET", "/tokens", _ADMINISTER, "The API tokens given out, without their secrets.", _tokens),
    Operation(
        "POST",
        "/tokens",
        _ADMINISTER,
        f"A new API token, told once. Roles: {_ROLES}.",
        _create_token,
        takes=NEW_TOKEN.schema,
        success=201,
        critical=True,
    ),
    Operation("DELETE", _TOKEN, _ADMINISTER, "Make a token useless.", _revoke_token, success=204, critical=True),
)
