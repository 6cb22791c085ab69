"""Roles and passwords, against the manual's tables written out by hand."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import LEAST_LENGTH, LONGEST, PasswordRule, Permission, Role, User, broken_rules, may, may_create

# Manual §05.07, row by row: who may do what.
RIGHTS = {
    (Role.STANDARD, Permission.SEE_DASHBOARD): True,
    (Role.STANDARD, Permission.MANAGE_BADGES): False,
    (Role.STANDARD, Permission.CREATE_STANDARD_USERS): False,
    (Role.STANDARD, Permission.ADMINISTER): False,
    (Role.ADVANCED, Permission.SEE_DASHBOARD): True,
    (Role.ADVANCED, Permission.MANAGE_BADGES): True,
    (Role.ADVANCED, Permission.CREATE_STANDARD_USERS): True,
    (Role.ADVANCED, Permission.ADMINISTER): False,
    (Role.ADMINISTRATOR, Permission.SEE_DASHBOARD): True,
    (Role.ADMINISTRATOR, Permission.MANAGE_BADGES): True,
    (Role.ADMINISTRATOR, Permission.CREATE_STANDARD_USERS): True,
    (Role.ADMINISTRATOR, Permission.ADMINISTER): True,
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_each_role_may_do_what_the_manual_says_and_no_more(role: Role, permission: Permission) -> None:
    assert may(role, permission) is RIGHTS[role, permission]


@pytest.mark.parametrize(
    ("creator", "created"),
    [
        (Role.ADMINISTRATOR, Role.ADMINISTRATOR),
        (Role.ADMINISTRATOR, Role.ADVANCED),
        (Role.ADMINISTRATOR, Role.STANDARD),
        (Role.ADVANCED, Role.STANDARD),
    ],
)
def test_users_are_created_from_above(creator: Role, created: Role) -> None:
    assert may_create(creator, created)


@pytest.mark.parametrize(
    ("creator", "created"),
    [
        (Role.ADVANCED, Role.ADVANCED),
        (Role.ADVANCED, Role.ADMINISTRATOR),
        (Role.STANDARD, Role.STANDARD),
        (Role.STANDARD, Role.ADVANCED),
        (Role.STANDARD, Role.ADMINISTRATOR),
    ],
)
def test_nobody_creates_an_equal_or_a_superior_except_an_administrator(creator: Role, created: Role) -> None:
    assert not may_create(creator, created)


def test_a_user_has_a_lasting_password_unless_said() -> None:
    assert not User("anna", Role.STANDARD).temporary


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("Abcdef1!", ()),
        ("abcdef1!", (PasswordRule.CAPITAL,)),
        ("ABCDEF1!", (PasswordRule.LOWER_CASE,)),
        ("Abcdefg!", (PasswordRule.NUMBER,)),
        ("Abcde1!", (PasswordRule.LENGTH,)),
        ("Abcdefg1", (PasswordRule.SYMBOL,)),
        ("Abcdef1 ", (PasswordRule.SYMBOL,)),  # a blank is easily lost: it is no symbol
        ("1234", (PasswordRule.CAPITAL, PasswordRule.LOWER_CASE, PasswordRule.LENGTH, PasswordRule.SYMBOL)),
        ("", tuple(PasswordRule)),
        ("Çédille1!", ()),
    ],
)
def test_every_broken_rule_is_named_in_the_manuals_order(password: str, broken: tuple[PasswordRule, ...]) -> None:
    assert broken_rules(password) == broken


def test_a_password_of_exactly_the_longest_length_is_taken_and_one_more_is_not() -> None:
    longest = "Aa1!" * (LONGEST // 4)
    assert broken_rules(longest) == ()
    assert broken_rules(longest + "a") == (PasswordRule.LENGTH,)


ascii_passwords = st.text(string.ascii_letters + string.digits + string.punctuation, max_size=LONGEST)


@given(ascii_passwords)
def test_a_password_is_good_exactly_when_it_has_one_of_each_kind_and_is_long_enough(password: str) -> None:
    used = set(password)
    kinds = (string.ascii_uppercase, string.ascii_lowercase, string.digits, string.punctuation)
    good = len(password) >= LEAST_LENGTH and all(used & set(kind) for kind in kinds)
    assert (broken_rules(password) == ()) is good
