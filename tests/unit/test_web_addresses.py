"""An id with any characters is one part of an address, never taken for something else, and comes back unchanged."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from llm_adapters.web.addresses import TAKEN, named, part_of

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)


def read_back(part: str) -> str:
    return named(Request({"type": "http", "path_params": {"station_id": part}}), "station_id")


@given(IDS)
@example("A/B")
@example("~scan")
@example("%7E%2F")
def test_an_id_comes_back_unchanged(name: str) -> None:
    assert read_back(part_of(name)) == name


@given(IDS)
def test_an_id_is_one_part_that_no_browser_and_no_proxy_resolves(name: str) -> None:
    part = part_of(name)
    assert part.isascii()
    assert not set("/?#\\ ") & set(part)
    assert unquote(part) not in {".", ".."}


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_an_id_that_is_the_name_of_a_page_does_not_lead_to_that_page(name: str) -> None:
    assert part_of(name) not in TAKEN
    assert read_back(part_of(name)) == name
