"""Which benches a run is for: each test takes those of its kind."""

from __future__ import annotations

import pytest

from llm_adapters.conformance.benches import bench, named

KINDS = ("meter", "stations", "store", "uplink")


def pytest_report_header() -> str:
    return f"adapters under test: {', '.join(named())}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `meter_bench` runs once for every bench whose kind is `meter`, and so on."""
    for kind in KINDS:
        if f"{kind}_name" in metafunc.fixturenames:
            names = [name for name in named() if bench(name).kind == kind]
            metafunc.parametrize(f"{kind}_name", names)
