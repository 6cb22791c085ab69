"""Who answers? A register that tells the model, or the walk through the blocks of a SunSpec meter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from llm_adapters.modbus.line import RefusedError
from llm_adapters.modbus.models import Identity, MeterModel, SunSpec

SUNS = [0x5375, 0x6E53]  # “SunS”
ORIGINS = (40_000, 50_000, 0)
END = 0xFFFF
MOST_BLOCKS = 40  # in one meter; more is a circle
Ask = Callable[[int, int, int], Awaitable[list[int]]]  # function code, address, count -> registers


async def is_the_model(model: MeterModel, identity: Identity, ask: Ask) -> bool:
    """Whether the meter says that it is this model."""
    code = identity.function_code or model.function_code
    try:
        registers = await ask(code, identity.address, identity.words)
    except RefusedError:
        return False
    if identity.type is not None:
        return model.raw(identity.type, tuple(registers)) in identity.values
    return any(text.startswith(identity.texts) for text in _texts(registers))


def _texts(registers: list[int]) -> tuple[str, ...]:
    """What the letters may say: makers disagree on which of two comes first."""
    data = b"".join(word.to_bytes(2, "big") for word in registers)
    swapped = b"".join(word.to_bytes(2, "little") for word in registers)
    backwards = b"".join(word.to_bytes(2, "big") for word in reversed(registers))
    return tuple(bytes_.decode("latin-1").strip("\0 ") for bytes_ in (data, swapped, backwards, swapped[::-1]))


async def find_block(wanted: SunSpec, ask: Ask, known: int | None) -> int:
    """The address of the number of the wanted SunSpec model. `known` is where it was before: looked at first.

    Raises `ConnectionError` where this is no SunSpec meter, or one without this model.
    """
    head = [wanted.model, wanted.length]
    if known is not None and await _maybe(ask, known) == head:
        return known
    for origin in ORIGINS:
        if await _maybe(ask, origin) != SUNS:
            continue
        address, found = origin + 2, []
        for _ in range(MOST_BLOCKS):
            at = await _maybe(ask, address)
            if at is None or at[0] == END:
                break
            if at == head:
                return address
            found.append(at[0])
            address += 2 + at[1]
        raise ConnectionError(f"it has no SunSpec model {wanted.model} of {wanted.length} registers, but {found}")
    raise ConnectionError("it does not keep to SunSpec")


async def _maybe(ask: Ask, address: int) -> list[int] | None:
    """Two registers there, or None where the meter refuses them."""
    if address > 0xFFFE:
        return None
    try:
        return await ask(3, address, 2)
    except RefusedError:
        return None
