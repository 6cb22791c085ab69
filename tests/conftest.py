"""What holds for every test: coverage is told whose test runs, and programs under test run at full speed."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

WORKER = os.environ.get("PYTEST_XDIST_WORKER")
CORE = Path(__file__).parents[1] / "src" / "llm_core"
OWN = re.compile(rf"tests/unit/test_({'|'.join(path.stem for path in CORE.glob('*.py'))})(_\w+)?\.py")


def _measuring() -> coverage.Coverage | None:
    """Coverage, where it is asked for through the environment (see ./check): what a test starts must not inherit that.

    Each worker of pytest-xdist measures for itself, into a file of its own.
    """
    if WORKER is None:
        asked = os.environ.pop("COVERAGE_PROCESS_START", None)
        if asked is not None:
            os.environ["MEASURE_IN_WORKERS"] = asked
        return coverage.Coverage.current()
    asked = os.environ.pop("MEASURE_IN_WORKERS", None)
    if asked is None:
        return None
    file = os.environ.get("COVERAGE_FILE")
    os.environ |= {"COVERAGE_PROCESS_START": asked, "COVERAGE_FILE": f"{file or '.coverage'}.{WORKER}"}
    started = coverage.process_startup()
    del os.environ["COVERAGE_PROCESS_START"], os.environ["COVERAGE_FILE"]
    if file is not None:
        os.environ["COVERAGE_FILE"] = file
    return started


MEASURING = _measuring()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Book what runs under the file of the test that runs it, so that a module can be judged by its own tests.

    Nobody is judged by any other test, so those run at full speed.
    """
    if MEASURING is not None:
        own = OWN.fullmatch(item.location[0]) is not None
        if own and coverage.Coverage.current() is None:
            MEASURING.start()
        if own:
            MEASURING.switch_context(item.location[0])
        else:
            MEASURING.stop()
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    if MEASURING is not None and WORKER is not None:  # which may end without what Python does at its end
        MEASURING.stop()
        MEASURING.save()
