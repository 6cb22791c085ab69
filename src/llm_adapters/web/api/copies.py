"""Files for whoever looks after the controller: a complete backup, and a bundle for somebody who helps."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response

from llm_adapters.web.api.call import Call
from llm_adapters.web.api.operation import Operation
from llm_core import Permission, StoreError


async def _backup(call: Call) -> Response:
    return await _handed_over(call, call.desk.back_up, "llm-backup", "db", "application/vnd.sqlite3")


async def _bundle(call: Call) -> Response:
    return await _handed_over(call, call.desk.write_bundle, "llm-support", "zip", "application/zip")


async def _handed_over(
    call: Call, write: Callable[[Path], Awaitable[None]], name: str, suffix: str, kind: str
) -> Response:
    """The file that `write` makes, removed once it was sent. Raises `StoreError` for what the disk refuses."""
    folder = tempfile.TemporaryDirectory(prefix="llm-")
    target = Path(folder.name) / f"file.{suffix}"
    try:
        await write(target)
    except OSError as error:
        folder.cleanup()
        raise StoreError(str(error)) from error
    except StoreError:
        folder.cleanup()
        raise
    stamped = f"{name}-{call.desk.clock.utc():%Y%m%dT%H%M%SZ}.{suffix}"
    return FileResponse(target, media_type=kind, filename=stamped, background=BackgroundTask(folder.cleanup))


_ADMINISTER = Permission.ADMINISTER
OPERATIONS = (
    Operation(
        "GET",
        "/backup",
        _ADMINISTER,
        "All that lasts, in one file for `llm-app restore`. It holds secrets: keep it safe.",
        _backup,
        gives_type="application/vnd.sqlite3",
        critical=True,
    ),
    Operation(
        "GET",
        "/support-bundle",
        _ADMINISTER,
        "What helps to find a fault, without secrets, badges and names of drivers.",
        _bundle,
        gives_type="application/zip",
    ),
)
