"""One row of the API: its address, who may use it, what it takes, and the function that answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import attrs
from starlette.responses import Response

from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import Schema
from llm_core import Permission

MIB = 1024 * 1024


@attrs.frozen
class Operation:
    """Routes, rights and the OpenAPI document are all made from these rows. `path` is relative to `/api/v1`."""

    method: str
    path: str
    permission: Permission
    summary: str
    answer: Callable[[Call], Awaitable[Response]]
    takes: Schema | None = None
    gives: Schema | None = None
    success: int = 200
    query: Mapping[str, str] = attrs.field(factory=dict)
    takes_type: str = "application/json"
    gives_type: str = "application/json"
    most_bytes: int = MIB
    critical: bool = False  # a browser is asked for the password again
