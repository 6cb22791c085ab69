"""The tests that a vendor runs: the adapters that come along pass them, and each one that breaks a promise is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import broken_benches
import pytest
from server_process import llm_app

QUIETLY = ("-q", "-rf", "-W", "error", "-p", "no:cacheprovider")
HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "docs" / "example-adapter"


def conforms(
    folder: Path, *benches: str, only: str = "", path: tuple[Path, ...] = (HERE, HERE.parent)
) -> tuple[int, str]:
    """Run the tests as a vendor does, outside the repository."""
    path_in_full = os.pathsep.join(map(str, path))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *QUIETLY, "--pyargs", "llm_adapters.conformance", "-k", only],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path_in_full, "LLM_CONFORMANCE": ",".join(benches)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["ModbusBench", "OcppBench", "SqliteBench", "CpoBench"])
def test_our_own_adapters_hold_what_every_adapter_promises(tmp_path: Path, name: str) -> None:
    code, told = conforms(tmp_path, f"own_benches:{name}")
    assert code == 0, told


def test_without_a_name_the_smallest_adapters_are_tried(tmp_path: Path) -> None:
    code, told = conforms(tmp_path)
    assert code == 0, told
    assert int(re.findall(r"(\d+) passed", told)[0]) >= 31


def test_each_broken_promise_is_found_by_the_test_that_is_for_it(tmp_path: Path) -> None:
    names = {broken.__name__: test for broken, test in broken_benches.FOUND_BY.items()}
    only = " or ".join(f"({name} and {test})" for name, test in names.items())
    code, told = conforms(tmp_path, *(f"broken_benches:{name}" for name in names), only=only)
    assert code == 1, told
    assert set(re.findall(r"^FAILED \S+\[broken_benches:(\w+)", told, re.MULTILINE)) == set(names), told


def test_a_bench_that_is_not_there_is_an_error_and_no_pass(tmp_path: Path) -> None:
    assert conforms(tmp_path, "nowhere:Bench")[0] != 0


@pytest.fixture
def installed(tmp_path: Path) -> tuple[Path, ...]:
    """The example of the documentation as its build would install it: its package, and what its metadata name."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    info = tmp_path / "installed" / f"acme_meter-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in names.items())
        for group, names in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    return EXAMPLE / "src", info.parent


def test_the_adapter_of_the_documentation_is_found_and_passes(
    tmp_path: Path, installed: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = conforms(tmp_path, path=installed)
    assert code == 0, told
    assert "9 passed, 23 skipped" in told
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, installed)))
    assert "acme_t3" in llm_app("meter", "models").stdout
    read = llm_app("meter", "read", "--model", "acme_t3", "--host", "127.0.0.1", "--port", "9")
    assert read.returncode == 1
    assert "no reading" in read.stderr
