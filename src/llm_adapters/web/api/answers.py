"""JSON responses that any client can read, whatever a station called itself."""

from __future__ import annotations

import json

from starlette.responses import Response

from llm_adapters.web.api.exact import Json


class JsonResponse(Response):
    """JSON in ASCII: half a character (a lone surrogate) in a vendor's name is escaped, not an encoding error."""

    media_type = "application/json"

    def render(self, content: Json) -> bytes:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")
