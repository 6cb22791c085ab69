"""Ten thousand frames that nobody should send: none of them ends the link, leaves anything behind, or costs memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ocpp_fuzzing import SocketTarget, Target, frames

AT_ONCE = 50


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    fuzzed = Target()
    yield fuzzed
    assert fuzzed.fed >= 10_000
    fuzzed.check()
    fuzzed.close()


def check_now_and_then(target: Target) -> None:
    if target.fed % 1_000 == 0:
        target.check()


@settings(max_examples=160, deadline=None)
@given(chance=st.randoms(use_true_random=True))
def test_8_000_frames_that_are_nearly_right(target: Target, chance: random.Random) -> None:
    target.feed(*islice(frames(chance), AT_ONCE))
    check_now_and_then(target)


junk = st.one_of(st.text(max_size=80), st.binary(max_size=80), st.from_regex(r"\[[234],\"\w*\",.*\]"))


@settings(max_examples=40, deadline=None)
@given(hostile=st.lists(junk, min_size=AT_ONCE, max_size=AT_ONCE))
def test_2_000_frames_of_anything(target: Target, hostile: list[str | bytes]) -> None:
    target.feed(*hostile)
    check_now_and_then(target)


def test_2_000_frames_over_a_real_socket_with_anything_beside_them() -> None:
    target, source = SocketTarget(), frames(random.Random(2))
    for _ in range(40):
        target.feed(*islice(source, AT_ONCE))
    target.check()
    assert target.reconnects, "some end the link, and the station is served again"
    target.close()
