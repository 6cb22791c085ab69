"""Users: what each role may do, and what a password must be."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import attrs


class Role(StrEnum):
    """The three profiles of the manual (§05.07)."""

    ADMINISTRATOR = "administrator"
    ADVANCED = "advanced"
    STANDARD = "standard"


class Permission(StrEnum):
    SEE_DASHBOARD = "see_dashboard"  # overview, stations' state, sessions
    MANAGE_BADGES = "manage_badges"
    CREATE_STANDARD_USERS = "create_standard_users"
    ADMINISTER = "administer"  # everything else


PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.STANDARD: frozenset({Permission.SEE_DASHBOARD}),
    Role.ADVANCED: frozenset({Permission.SEE_DASHBOARD, Permission.MANAGE_BADGES, Permission.CREATE_STANDARD_USERS}),
    Role.ADMINISTRATOR: frozenset(Permission),
}


@attrs.frozen
class User:
    """A person; a `temporary` password opens nothing but the page that replaces it."""

    name: str
    role: Role
    temporary: bool = False


@attrs.frozen
class Token:
    """An API token as listed: its secret was told once and is known to nobody here."""

    label: str
    role: Role
    created_at: datetime


def may(role: Role, permission: Permission) -> bool:
    return permission in PERMISSIONS[role]


def may_create(creator: Role, created: Role) -> bool:
    """An administrator creates anyone, an advanced user creates standard users."""
    if may(creator, Permission.ADMINISTER):
        return True
    return created is Role.STANDARD and may(creator, Permission.CREATE_STANDARD_USERS)


class PasswordRule(StrEnum):
    """One rule of the manual (§05.02); a password must keep all."""

    CAPITAL = "capital"
    LOWER_CASE = "lower_case"
    NUMBER = "number"
    LENGTH = "length"
    SYMBOL = "symbol"


LEAST_LENGTH = 8
LONGEST = 256  # scrypt takes any length; a form does not


def broken_rules(password: str) -> tuple[PasswordRule, ...]:
    """Every rule that a password breaks, in the order of the manual; empty for a good one."""
    kept = {
        PasswordRule.CAPITAL: any(c.isupper() for c in password),
        PasswordRule.LOWER_CASE: any(c.islower() for c in password),
        PasswordRule.NUMBER: any(c.isdigit() for c in password),
        PasswordRule.LENGTH: LEAST_LENGTH <= len(password) <= LONGEST,
        PasswordRule.SYMBOL: any(not c.isalnum() and not c.isspace() for c in password),
    }
    return tuple(rule for rule in PasswordRule if not kept[rule])
