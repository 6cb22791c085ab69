"""Every page there is, read from the application's routes: a sweep over them cannot forget a new one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import httpx
from patience import PATIENCE_S
from starlette.routing import Route
from web_scene import PASSWORD, Served

from llm_adapters.web.app import create_app
from llm_adapters.web.setup import STEPS

WAITING, NEW = "EV-NEW-01", "new"
"""A station that waits to be adopted, and a cluster that there is not yet: they have not every page."""
SAMPLES = {
    "{station_id}": ("ST1", WAITING),
    "{cluster_id}": ("c2", NEW),
    "{limit_id}": ("1",),
    "{transaction_id}": ("41",),
    "{step}": tuple(step.name for step in STEPS),
}
QUERIES = {
    "/badges/edit": "?id=A1B2C3",
    "/badges/statement": "?id=A1B2C3&month=2026-03",
    "/users/edit": "?name=standard",
}
"""What a page must be told to have something to show."""


def every_page(served: Served) -> tuple[str, ...]:
    """The address of each whole page that an administrator can open, with something on it."""
    return tuple(_pages(served))


def _pages(served: Served) -> Iterator[str]:
    with httpx.Client(base_url=served.url, timeout=PATIENCE_S) as client:
        client.post("/login", data={"name": "administrator", "password": PASSWORD})
        for path in _addresses(served):
            with client.stream("GET", path) as answer:
                is_page = answer.headers.get("content-type", "").startswith("text/html")
                is_missing = answer.status_code == 404 and bool({WAITING, NEW} & set(path.split("/")))
                if answer.status_code == 303 or not is_page or is_missing:
                    continue
                assert answer.status_code == 200, f"{path}: tell in QUERIES what it must be asked with"
                if "<!doctype html>" in answer.read().decode():
                    yield path


def _addresses(served: Served) -> Iterator[str]:
    for route in create_app(served.desk).routes:
        if not isinstance(route, Route) or "GET" not in (route.methods or ()):
            continue
        named = [name for name in SAMPLES if name in route.path]
        for values in product(*(SAMPLES[name] for name in named)):
            path = route.path
            for name, value in zip(named, values, strict=True):
                path = path.replace(name, value)
            assert "{" not in path, f"{path}: tell in SAMPLES what it can be called with"
            yield path + QUERIES.get(path, "")
