"""Files to take away: a backup of everything, and a bundle for somebody who helps, without secrets and names."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Route

from llm_adapters.web.auth import Principal
from llm_adapters.web.desk import Desk
from llm_adapters.web.forms import Form, read_fields
from llm_adapters.web.pages import guarded, words_for
from llm_adapters.web.settings import ask_for_password
from llm_core import Permission, StoreError


def download_routes(desk: Desk) -> list[Route]:
    async def backup(request: Request, principal: Principal) -> Response:
        """Everything that lasts, secrets included: so the password is asked for again."""
        form = Form(words_for(request, desk), await read_fields(request))
        await ask_for_password(desk, form, principal)
        if form.faults:
            return RedirectResponse("/system?done=wrong_password#backup", 303)
        return await _sent(desk, "llm-backup", "db", desk.back_up)

    async def bundle(_: Request, __: Principal) -> Response:
        return await _sent(desk, "llm-support", "zip", desk.write_bundle)

    return [
        guarded(desk, "/system/backup", Permission.ADMINISTER, backup, ["POST"]),
        guarded(desk, "/support/bundle", Permission.ADMINISTER, bundle, ["POST"]),
    ]


async def _sent(desk: Desk, name: str, suffix: str, write: Callable[[Path], Awaitable[None]]) -> Response:
    """The file that `write` makes, sent and then forgotten."""
    folder = tempfile.TemporaryDirectory(prefix="llm-")
    target = Path(folder.name) / f"file.{suffix}"
    try:
        await write(target)
    except (StoreError, OSError):
        folder.cleanup()
        return RedirectResponse("/support?done=not_written", 303)
    stamped = f"{name}-{desk.clock.utc():%Y%m%dT%H%M%SZ}.{suffix}"
    return FileResponse(target, filename=stamped, background=BackgroundTask(folder.cleanup))
