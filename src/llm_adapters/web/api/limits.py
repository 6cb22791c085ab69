"""Limits from outside over HTTP: the grid operator, a contact, a script; and what became of each."""

from __future__ import annotations

from decimal import Decimal

from starlette.responses import Response

from llm_adapters.web.api.answers import JsonResponse
from llm_adapters.web.api.call import Call
from llm_adapters.web.api.exact import (
    Json,
    Member,
    Record,
    Shape,
    amps_per_phase,
    nullable,
    per_phase,
    text,
    whole,
    word,
    wrong,
)
from llm_adapters.web.api.instants import INSTANT
from llm_adapters.web.api.operation import Operation
from llm_adapters.web.api.problems import Refusal
from llm_adapters.web.api.queries import Query
from llm_adapters.web.api.shapes import ID
from llm_adapters.web.api.views import stamp
from llm_core import (
    PHASES,
    AppliesTo,
    ExternalLimit,
    Lapse,
    LimitHeard,
    LimitPut,
    LimitRecord,
    LimitState,
    LimitWithdrawn,
    Permission,
    Phase,
)

MOST_KW = 1_000_000
USUAL, MOST = 100, 10_000
_QUERY = {"limit": f"At most so many; {USUAL} when left out, {MOST} at most."}


def _read_kilowatts(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise wrong("must be a number of kilowatts")
    if not 0 <= value <= MOST_KW:
        raise wrong(f"must lie between 0 and {MOST_KW} kW")
    return int(Decimal(value) * 1000)  # a part of a watt is left out: a limit never grows


KILOWATTS: Shape[int] = Shape(
    _read_kilowatts,
    lambda watts: watts // 1000 if watts % 1000 == 0 else watts / 1000,
    {"type": "number", "minimum": 0, "maximum": MOST_KW},
)


def limit_record(phases: tuple[Phase, ...]) -> Record[ExternalLimit]:
    return Record(
        Member("node", "node", ID),
        Member("limit_a", "limit_ma", nullable(per_phase(phases))),
        Member("limit_kw", "limit_w", nullable(KILOWATTS)),
        Member("applies_to", "applies_to", word(AppliesTo)),
        Member("starts_at", "starts_at", nullable(INSTANT)),
        Member("ends_at", "ends_at", nullable(INSTANT)),
        Member("keep_alive_s", "keep_alive_s", nullable(whole(1, 86_400))),
        Member("then", "then", word(Lapse)),
        Member("reason", "reason", text(200)),
    )


def limit_json(known: LimitState, phases: tuple[Phase, ...], now_ms: int) -> dict[str, Json]:
    """A limit, how it stands, and what became of it."""
    alive = known.record.limit.keep_alive_s is not None and known.record.ended is None
    return {
        **record_json(known.record, phases),
        "state": _standing(known),
        "heard_s": (now_ms - known.heard_ms) // 1000 if alive else None,
    }


def record_json(record: LimitRecord, phases: tuple[Phase, ...]) -> dict[str, Json]:
    """A limit and its evidence: what was drawn when it began, and how long until no more than it allows was."""
    drawn_ma, held_ms = record.drawn_ma, record.held_after_ms
    return {
        "id": record.limit.id,
        **limit_record(phases).write(record.limit),
        "allowed_a": amps_per_phase(record.limit.on(phases), phases),
        "by": record.by,
        "set_at": stamp(record.set_at),
        "began_at": stamp(record.began_at),
        "drawn_a": amps_per_phase(drawn_ma, phases) if drawn_ma is not None else None,
        "held_after_s": held_ms / 1000 if held_ms is not None else None,
        "ended_at": stamp(record.ended_at),
        "ended": record.ended,
    }


def _standing(known: LimitState) -> str:
    if known.holds:
        return "holds"
    return "ended" if known.record.ended is not None else "planned"


async def _list(call: Call) -> Response:
    phases = call.state.site.supply.site_phases
    return JsonResponse([limit_json(known, phases, call.now_ms) for known in call.state.limits.values()])


async def _show(call: Call) -> Response:
    return _told(call, call.named("id"))


async def _add(call: Call) -> Response:
    limit = limit_record(call.state.site.supply.site_phases).read(await call.json(), ExternalLimit())
    limit_id = await call.ask(LimitPut(call.principal.name, limit))
    return _told(call, limit_id, 201)


async def _change(call: Call) -> Response:
    """What is given changes; nothing given says that the sender is alive. Both do."""
    known, body = _known(call), await call.json()
    limit = known.record.limit
    changed = limit_record(call.state.site.supply.site_phases).read(_replacing(body), limit, partial=True)
    await call.ask(LimitHeard(limit.id) if changed == limit else LimitPut(call.principal.name, changed))
    return _told(call, limit.id)


def _replacing(body: object) -> object:
    """Amps take the place of kilowatts and the other way round."""
    if not isinstance(body, dict):
        return body
    other = {"limit_a": "limit_kw", "limit_kw": "limit_a"}
    return {**{other[name]: None for name in other if body.get(name) is not None}, **body}


async def _keep_alive(call: Call) -> Response:
    limit_id = _known(call).record.limit.id
    await call.ask(LimitHeard(limit_id))
    return _told(call, limit_id)


async def _withdraw(call: Call) -> Response:
    await call.ask(LimitWithdrawn(call.principal.name, _known(call).record.limit.id))
    return Response(status_code=204)


async def _evidence(call: Call) -> Response:
    query = Query(call.request.query_params, _QUERY)
    most = query.whole("limit", USUAL, 1, MOST)
    query.close()
    phases = call.state.site.supply.site_phases
    return JsonResponse([record_json(record, phases) for record in await call.desk.archive.limit_records(most)])


def _known(call: Call) -> LimitState:
    """A limit that has not ended for good."""
    known = call.state.limits.get(call.named("id"))
    if known is None or known.is_gone:
        raise Refusal(404, f"There is no limit “{call.named('id')}”, or it has ended.")
    return known


def _told(call: Call, limit_id: str, status: int = 200) -> Response:
    known = call.state.limits.get(limit_id)
    if known is None:
        raise Refusal(404, f"There is no limit “{limit_id}”.")
    headers = {"Location": f"/api/v1/limits/{limit_id}"} if status == 201 else {}
    return JsonResponse(limit_json(known, call.state.site.supply.site_phases, call.now_ms), status, headers)


_ANY, _ADMINISTER = limit_record(PHASES), Permission.ADMINISTER
OPERATIONS = (
    Operation("GET", "/limits", _ADMINISTER, "Limits from outside: planned, holding, and lately ended.", _list),
    Operation(
        "POST", "/limits", _ADMINISTER, "Limit a node from outside.", _add, takes=_ANY.optional_schema, success=201
    ),
    Operation(
        "GET", "/limits/evidence", _ADMINISTER, "What became of each limit, newest first.", _evidence, query=_QUERY
    ),
    Operation("GET", "/limits/{id}", _ADMINISTER, "One limit.", _show),
    Operation(
        "PATCH",
        "/limits/{id}",
        _ADMINISTER,
        "Change a limit; an empty object keeps it alive.",
        _change,
        takes=_ANY.optional_schema,
    ),
    Operation("POST", "/limits/{id}/keep-alive", _ADMINISTER, "The sender of this limit is alive.", _keep_alive),
    Operation("DELETE", "/limits/{id}", _ADMINISTER, "Take a limit back.", _withdraw, success=204),
)
