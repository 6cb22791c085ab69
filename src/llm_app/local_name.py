"""What this controller is called on the local network: `llm-` and the last six digits of its own number."""

from __future__ import annotations

import logging
import re
import secrets
from pathlib import Path

FILE = "uid"
_UID = re.compile(r"[0-9a-f]{12}")
log = logging.getLogger("llm.app")


def local_name(data: Path) -> str:
    """The same for the life of a data directory; a new number where there is none that can be read."""
    path = data / FILE
    try:
        uid = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        uid = ""
    if _UID.fullmatch(uid) is None:
        uid = secrets.token_hex(6)
        try:
            path.write_text(f"{uid}\n", "ascii")
        except OSError as error:
            log.warning("the number of this controller is not kept: %s", error)
    return f"llm-{uid[-6:]}"
