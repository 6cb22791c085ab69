"""What holds for every test: coverage is told whose test runs, and programs under test run at full speed."""

from __future__ import annotations

import os
from collections.abc import Generator

import coverage
import pytest

# Measuring is asked for through the environment (see ./check). A server that a test starts must not inherit it.
os.environ.pop("COVERAGE_PROCESS_START", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Book what runs under the file of the test that runs it, so that a module can be judged by its own tests."""
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.switch_context(item.location[0])
    return (yield)
