"""A badge file is taken whole or refused line by line, whatever a spreadsheet made of it."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_adapters.files.badges_csv import MOST_BYTES, MOST_LINES, parse_badges
from llm_adapters.web.api.badges import TEMPLATE
from llm_core import Badge, BadgeState, BadgeType, NotSaved, normalise

HEADER = "badgeId,type,comment,expirationDate,email\n"
ROW = "a1b2c3,STANDARD,example,30.01.2023,example@llm.fr\n"
EXPECTED = Badge("a1b2c3", BadgeType.STANDARD, comment="example", email="example@llm.fr", expires_on=date(2023, 1, 30))


def taken(text: str | bytes, *known: Badge) -> tuple[Badge, ...]:
    read = parse_badges(text.encode() if isinstance(text, str) else text, {normalise(b.badge_id): b for b in known})
    assert not isinstance(read, NotSaved), read
    return read


def refused(text: str | bytes) -> dict[str, str]:
    read = parse_badges(text.encode() if isinstance(text, str) else text, {})
    assert isinstance(read, NotSaved)
    return {fault.pointer: fault.text for fault in read.faults}


@pytest.mark.parametrize(
    "data",
    [
        (HEADER + ROW).encode(),
        b"\xef\xbb\xbf" + (HEADER + ROW).encode(),
        (HEADER + ROW).replace(",", ";").encode(),
        (HEADER + ROW).replace("\n", "\r\n").encode(),
        (HEADER + ROW).rstrip().encode(),
        (HEADER + ROW + ",,,,\n\n").encode(),
        (HEADER + '"a1b2c3","STANDARD","example","30.01.2023","example@llm.fr"\n').encode(),
        b"email,badgeId,type,expirationDate,comment\nexample@llm.fr,a1b2c3,standard,30.1.2023, example \n",
    ],
)
def test_the_manuals_example_is_read_however_it_was_saved(data: bytes) -> None:
    assert taken(data) == (EXPECTED,)


def test_the_template_can_be_imported() -> None:
    assert [badge.badge_id for badge in taken(TEMPLATE)] == ["a1b2c3"]


def test_what_is_left_empty_is_absent() -> None:
    assert taken(HEADER + "a1b2c3,SUPER,,,\n") == (Badge("a1b2c3", BadgeType.SUPER),)


def test_a_line_may_stop_early() -> None:
    assert taken(HEADER + "a1b2c3,SUPER\n") == (Badge("a1b2c3", BadgeType.SUPER),)


def test_a_comment_may_hold_separators_and_quotes() -> None:
    text = HEADER + 'a1,STANDARD,"Müller, ""Bay"" 4; left",,\nb2,STANDARD,x,,\n'
    assert [badge.comment for badge in taken(text)] == ['Müller, "Bay" 4; left', "x"]


def test_a_badge_that_comes_again_keeps_what_the_file_does_not_say() -> None:
    before = Badge("A1:B2:C3", state=BadgeState.INACTIVE, group="staff", stations=frozenset({"ST1"}), comment="old")
    after = taken(HEADER + "a1b2c3,SUPER,new,,\n", before)[0]
    assert (after.badge_id, after.state, after.group, after.stations) == (
        "A1:B2:C3",
        BadgeState.INACTIVE,
        "staff",
        frozenset({"ST1"}),
    )
    assert (after.type, after.comment) == (BadgeType.SUPER, "new")


def test_an_import_activates_a_pending_badge() -> None:
    assert taken(HEADER + ROW, Badge("a1b2c3", state=BadgeState.PENDING))[0].state is BadgeState.ACTIVE


@pytest.mark.parametrize(
    ("line", "pointer", "word"),
    [
        ("a1,STANDARD,x,30.02.2023,", "/2/expirationDate", "30.02.2023"),
        ("a1,STANDARD,x,2023-01-30,", "/2/expirationDate", "2023-01-30"),
        ("a1,STANDARD,x,00.00.0000,", "/2/expirationDate", "00.00.0000"),
        ("a1,STANDARD,x,３０.01.2023,", "/2/expirationDate", "no date"),
        ("a1,PREMIUM,x,,", "/2/type", "PREMIUM"),
        ("a1,,x,,", "/2/type", "STANDARD or SUPER"),
        (",STANDARD,x,,", "/2/badgeId", "1 to 20"),
        (": :,STANDARD,x,,", "/2/badgeId", "1 to 20"),
        ("123456789012345678901,STANDARD,x,,", "/2/badgeId", "1 to 20"),
        ("a1,STANDARD,x,,nobody", "/2/email", "nobody"),
        ("a1,STANDARD,x,,a b@c", "/2/email", "a b@c"),
        (f"a1,STANDARD,{'x' * 201},,", "/2/comment", "200"),
        ("a1,STANDARD,x\x07,,", "/2/comment", "cannot be shown"),
        ("a1,STANDARD,x,,,too,many", "/2", "7 fields"),
        ('a1,STANDARD,"never closed,,', "/2", "quotation mark"),
    ],
)
def test_a_bad_line_is_named_with_its_column(line: str, pointer: str, word: str) -> None:
    faults = refused(HEADER + line + "\n")
    assert list(faults) == [pointer]
    assert faults[pointer].startswith("line 2: ")
    assert word in faults[pointer]


def test_every_bad_line_is_named_and_none_of_the_others_is_taken() -> None:
    faults = refused(HEADER + ROW + "b,X,,,\n\nc,STANDARD,,31.04.2024,\n")
    assert list(faults) == ["/3/type", "/5/expirationDate"]


def test_lines_are_counted_as_an_editor_counts_them() -> None:
    assert list(refused(HEADER + 'a,STANDARD,"two\nlines",,\nb,X,,,\n')) == ["/2/comment", "/4/type"]


def test_a_badge_that_stands_twice_is_refused_however_it_is_spelled() -> None:
    faults = refused(HEADER + "a1b2c3,STANDARD,,,\nA1:B2:C3,STANDARD,,,\n")
    assert list(faults) == ["/3/badgeId"]
    assert "line 2" in faults["/3/badgeId"]


@pytest.mark.parametrize(
    ("header", "pointer"),
    [
        ("", "/1"),
        ("a1b2c3,STANDARD,,,", "/1"),
        ("type,comment", "/1"),
        ("badgeId,badgeId", "/1"),
        ("badgeId,pin", "/1"),
    ],
)
def test_a_file_without_its_header_is_refused(header: str, pointer: str) -> None:
    assert list(refused(header)) == [pointer]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ((HEADER + "a1,STANDARD,Müller,,\n").encode("latin-1"), "UTF-8"),
        ((HEADER + ROW).encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04\x00\xff", "UTF-8"),
    ],
)
def test_another_encoding_gets_advice(data: bytes, word: str) -> None:
    assert word in next(iter(refused(data).values()))


def test_the_line_of_a_letter_in_another_encoding_is_told() -> None:
    assert list(refused((HEADER + ROW + "b,STANDARD,Müller,,\n").encode("latin-1"))) == ["/3"]


def test_a_file_that_is_too_large_is_refused_unread() -> None:
    assert "5 MiB" in refused(b"\xff" * (MOST_BYTES + 1))["/1"]


def test_a_million_lines_are_refused_unread() -> None:
    assert f"{MOST_LINES} lines" in next(iter(refused(HEADER + "a,S,,\n" * 800_000).values()))


def test_a_long_list_of_faults_is_cut_and_says_so() -> None:
    faults = refused(HEADER + "".join(f"{number},X,,,\n" for number in range(500)))
    assert len(faults) == 101
    assert faults[""] == "and 400 more"


IDS = st.text("0123456789abcdefABCDEF", min_size=1, max_size=20)


@given(st.lists(IDS, unique_by=normalise, max_size=20))
def test_every_sound_line_becomes_its_badge(ids: list[str]) -> None:
    text = HEADER + "".join(f"{badge_id},STANDARD,,,\n" for badge_id in ids)
    assert [badge.badge_id for badge in taken(text)] == ids


@given(st.binary(max_size=200))
def test_any_bytes_are_badges_or_faults_and_never_a_crash(data: bytes) -> None:
    for file in (data, HEADER.encode() + data):
        read = parse_badges(file, {})
        assert isinstance(read, NotSaved) == (not isinstance(read, tuple))


@given(st.text(max_size=200))
def test_any_text_is_badges_or_faults_and_never_a_crash(text: str) -> None:
    read = parse_badges((HEADER + text).encode("utf-8", "surrogatepass"), {})
    assert isinstance(read, NotSaved) == (not isinstance(read, tuple))
