"""The OpenAPI document, made from the rows that make the routes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llm_adapters.web.api.exact import Json
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import MEDIA_TYPE
from llm_adapters.web.auth import CONFIRM_HEADER

_PARAMETER = re.compile(r"{(\w+)}")
_PROBLEM: dict[str, Json] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_OUTSIDE: dict[str, Json] = {
    "/metrics": {
        "get": {
            "summary": "OpenMetrics text; without a token only while the dashboard is public.",
            "responses": {"200": {"description": "Done."}},
        }
    },
    "/healthz": {
        "get": {
            "summary": "Whether the control loop ticks and the store writes.",
            "security": [],
            "responses": {"200": {"description": "Both do."}, "503": {"description": "Why not."}},
        }
    },
}


def document(operations: Iterable[Operation], version: str) -> dict[str, Json]:
    """OpenAPI 3.1 of every route."""
    paths: dict[str, dict[str, Json]] = {}
    for operation in operations:
        paths.setdefault(f"/api/v1{operation.path}", {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Local Load Manager",
            "version": version,
            "description": "Amps are numbers with at most three decimals, per phase {L1, L2, L3} or one for all; "
            "times are ISO 8601 in UTC. A page session needs the header X-CSRF-Token for every change.",
        },
        "security": [{"token": []}, {"session": []}],
        "paths": {**paths, **_OUTSIDE},
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "llm_session"},
            },
        },
    }


def _operation(operation: Operation) -> Json:
    done: dict[str, Json] = {"description": "Done."}
    if operation.success != 204:
        done["content"] = {operation.gives_type: {"schema": operation.gives if operation.gives is not None else {}}}
    problem: Json = {"description": "Why not.", "content": {MEDIA_TYPE: {"schema": _REFERENCE}}}
    again = f" A page session sends the password again in {CONFIRM_HEADER}." if operation.critical else ""
    described: dict[str, Json] = {
        "summary": operation.summary,
        "description": f"Needs the permission {operation.permission}.{again}",
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": {str(operation.success): done, "default": problem},
    }
    if operation.takes is not None:
        described["requestBody"] = {"content": {operation.takes_type: {"schema": operation.takes}}}
    return described


_REFERENCE: dict[str, Json] = {"$ref": "#/components/schemas/Problem"}


def _path_parameters(operation: Operation) -> list[Json]:
    names = _PARAMETER.findall(operation.path)
    return [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]


def _query_parameters(operation: Operation) -> list[Json]:
    return [
        {"name": name, "in": "query", "description": meaning, "schema": {"type": "string"}}
        for name, meaning in operation.query.items()
    ]
