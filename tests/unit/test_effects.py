"""What a command says of itself."""

from __future__ import annotations

import attrs
import pytest

from unit.strategies import limit


@pytest.mark.parametrize(
    ("not_after_ms", "now_ms", "too_late"),
    [(None, 10**12, False), (5_000, 4_999, False), (5_000, 5_000, True), (0, 0, True)],
)
def test_a_limit_is_too_late_from_its_moment_on_and_without_one_never(
    not_after_ms: int | None, now_ms: int, too_late: bool
) -> None:
    assert attrs.evolve(limit(1, 6_000), not_after_ms=not_after_ms).is_too_late(now_ms) is too_late
