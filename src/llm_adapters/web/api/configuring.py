"""The settings over HTTP: each is read and replaced as a whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.shapes import Setting, settings
from llm_core import Permission

CRITICAL = ("supply",)  # the protection and the derated current


def operations(meter_models: Collection[str]) -> Iterator[Operation]:
    for setting in settings(meter_models):
        yield from _operations(setting)


def _operations(setting: Setting) -> Iterator[Operation]:
    async def show(call: Call) -> Response:
        return JsonResponse(setting.write(call.state.site))

    async def replace(call: Call) -> Response:
        edit = setting.read(await call.json(), call.state.site)
        await call.edit(edit, f"/{setting.name}", setting.pointer)
        return JsonResponse(setting.write(call.state.site))

    path, schema = f"/{setting.name}", setting.schema
    yield Operation("GET", path, Permission.ADMINISTER, f"The {setting.name} settings.", show, gives=schema)
    yield Operation(
        "PUT",
        path,
        Permission.ADMINISTER,
        f"Replace the {setting.name} settings; what is left out takes its default.",
        replace,
        takes=schema,
        gives=schema,
        critical=setting.name in CRITICAL,
    )
