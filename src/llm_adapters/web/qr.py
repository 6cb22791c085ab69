"""QR codes, so that nobody has to type an address with a thumb."""

from __future__ import annotations

import attrs
import segno

QUIET = 4
"""Light modules around a code, as the standard asks for (ISO/IEC 18004 §5.3.8)."""


@attrs.frozen
class QrCode:
    """A code as an SVG path of unit squares, in a square of `size` units."""

    text: str
    size: int
    path: str


def qr_code(text: str) -> QrCode:
    """A code that says `text`, with error correction for a sticker that gets dirty."""
    rows = tuple(segno.make_qr(text, error="m").matrix)
    runs = [
        f"M{x + QUIET},{y + QUIET}h1v1h-1z" for y, row in enumerate(rows) for x, module in enumerate(row) if module & 1
    ]
    return QrCode(text, len(rows) + 2 * QUIET, "".join(runs))
