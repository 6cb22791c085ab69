"""Users over HTTP: whoever may create them, their first password is temporary."""

from __future__ import annotations

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Json, Wrong
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.shapes import NEW_USER, NewUser
from llm_adapters.web.words import PASSWORD_RULES
from llm_core import Fault, Permission, User, broken_rules, may_create


async def _list(call: Call) -> Response:
    return JsonResponse([_shown(user) for user in await call.desk.accounts.users()])


async def _add(call: Call) -> Response:
    given = NEW_USER.read(await call.json(), NewUser())
    if not may_create(call.principal.role, given.role):
        raise Refusal(403, f"The role “{call.principal.role}” creates standard users only.")
    broken = broken_rules(given.password)
    if broken:
        missing = ", ".join(PASSWORD_RULES[rule] for rule in broken)
        raise Wrong(Fault("/password", f"needs {missing}"))
    user = User(given.name, given.role, temporary=True)
    if not await call.desk.accounts.add_user(user, given.password, by=call.principal.name):
        raise Refusal(409, f"There is a user “{user.name}” already.", (Fault("/name", "is taken"),))
    return JsonResponse(_shown(user), 201)


def _shown(user: User) -> Json:
    return {"name": user.name, "role": user.role, "temporary": user.temporary}


OPERATIONS = (
    Operation("GET", "/users", Permission.ADMINISTER, "All users.", _list),
    Operation(
        "POST",
        "/users",
        Permission.CREATE_STANDARD_USERS,
        "Add a user with a temporary password; an advanced user adds standard users only.",
        _add,
        takes=NEW_USER.schema,
        success=201,
    ),
)
