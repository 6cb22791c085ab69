"""What tests of the pages share: one browser and one web application for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("browsing", "web_routes")

from browsing import chromium, open_page  # noqa: E402
from web_scene import Served, busy, serving  # noqa: E402

__all__ = ["chromium", "open_page", "running", "served"]


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with serving(busy()) as started:
        yield started


@pytest.fixture
def served(running: Served) -> Served:
    """The pages over the busy scene, as if just started."""
    running.begin_again(busy())
    return running
