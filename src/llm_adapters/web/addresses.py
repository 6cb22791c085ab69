"""The addresses of what has an id: whatever characters it has, it is one part of a path and comes back unchanged.

A station may call itself anything that can be printed: `A/more`, `50 %`, `..`, `scan`. So the pages are found by the
path as it was sent, in which a slash of an id still stands as `%2F`; and an id that would be taken for something else
(a page of that name, or a step up, which browsers resolve even where it is percent-encoded) gets a mark in front.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

import attrs
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

MARK = "~"
TAKEN = frozenset({".", "..", "scan", "ahead", "bulk", "waiting", "new"})
"""Ids that an address would not lead to as they are: steps of a path, and the pages beside those of the ids."""


@attrs.frozen
class AsSent:
    """Has the routes see the path as it was sent; those with an id in it read that with `named`."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            sent = scope.get("raw_path") or quote(scope["path"]).encode()
            scope = {**scope, "path": sent.decode("ascii", "replace")}
        await self.app(scope, receive, send)


def part_of(given: str) -> str:
    """An id as one part of a path."""
    return quote(MARK * (given in TAKEN or given.startswith(MARK)) + given, safe="")


def named(request: Request, parameter: str) -> str:
    """The id that `part_of` wrote into the address of this request."""
    return unquote(str(request.path_params[parameter])).removeprefix(MARK)


def station_path(station_id: str) -> str:
    """The page of a station."""
    return f"/stations/{part_of(station_id)}"


def bay_path(station_id: str) -> str:
    """The page of a station for those who stand beside it."""
    return f"/bay/{part_of(station_id)}"


def cluster_path(cluster_id: str) -> str:
    """The page of a cluster."""
    return f"/clusters/{part_of(cluster_id)}"
