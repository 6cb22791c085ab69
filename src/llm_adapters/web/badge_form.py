"""The form of a badge: its fields, what was typed, and what several badges are to have in common."""

from __future__ import annotations

import attrs
from starlette.datastructures import FormData

from llm_adapters.web.forms import Form
from llm_adapters.web.words import N_
from llm_core import LONGEST_TAG, Badge, BadgeState, BadgeType, Fault, State, normalise

LEAVE = ""
LONGEST_GROUP = 60


def new_badge(form: Form, state: State) -> Badge:
    """The badge as typed; one that is known already is refused, so that nothing is overwritten unseen."""
    badge_id = form.text("badge_id", longest=LONGEST_TAG)
    if not normalise(badge_id):
        form.take((Fault("/badge_id", N_("Type the number printed on the badge.")),))
    elif normalise(badge_id) in state.badges:
        form.take((Fault("/badge_id", N_("This badge is in the list already.")),))
    return Badge(
        badge_id=badge_id,
        type=form.choice("type", BadgeType),
        comment=form.text("comment"),
        expires_on=form.date("expires_on"),
    )


def badge_fields(badge: Badge) -> dict[str, str]:
    return {
        "state": badge.state,
        "type": badge.type,
        "group": badge.group or "",
        "comment": badge.comment,
        "email": badge.email,
        "expires_on": badge.expires_on.isoformat() if badge.expires_on is not None else "",
        "where": "all" if badge.stations is None else "chosen",
    }


def read_badge(form: Form, posted: FormData, before: Badge) -> Badge:
    """The badge as typed; its number stays."""
    email = form.text("email", longest=200)
    if email and "@" not in email:
        form.take((Fault("/email", N_("An e-mail address has an @.")),))
    return attrs.evolve(
        before,
        state=form.choice("state", BadgeState),
        type=form.choice("type", BadgeType),
        group=form.text("group", longest=LONGEST_GROUP) or None,
        comment=form.text("comment"),
        email=email,
        expires_on=form.date("expires_on"),
        stations=_stations(form, posted),
    )


def stations_alike(form: Form, posted: FormData) -> tuple[frozenset[str] | None] | None:
    """The stations for several badges, in a tuple since all of them is None; None where each keeps its own."""
    where = form.fields.get("where", LEAVE)
    if where == LEAVE:
        return None
    return (_stations(form, posted),)


def _stations(form: Form, posted: FormData) -> frozenset[str] | None:
    """None: all stations."""
    if form.fields.get("where") != "chosen":
        return None
    chosen = frozenset(value for value in posted.getlist("stations") if isinstance(value, str))
    if not chosen:
        form.take((Fault("/where", N_("Tick at least one station, or allow all.")),))
    return chosen


def read_alike(form: Form, badge: Badge, where: tuple[frozenset[str] | None] | None) -> Badge:
    """A badge with what was typed for several; what was left empty stays as it is."""
    fields = form.fields
    if where is not None:
        badge = attrs.evolve(badge, stations=where[0])
    if fields.get("state", LEAVE) != LEAVE:
        badge = attrs.evolve(badge, state=form.choice("state", BadgeState))
    if fields.get("type", LEAVE) != LEAVE:
        badge = attrs.evolve(badge, type=form.choice("type", BadgeType))
    if fields.get("group", "").strip():
        badge = attrs.evolve(badge, group=form.text("group", longest=LONGEST_GROUP))
    if fields.get("expires_on", "").strip():
        badge = attrs.evolve(badge, expires_on=form.date("expires_on"))
    return badge
