"""What another strategy would do, by the same rules that do it: a tick that nobody performs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from llm_core.control import tick
from llm_core.problem import Grant
from llm_core.quantities import Now
from llm_core.site import Sharing
from llm_core.state import Key, State


def preview(state: State, sharing: Sharing, now: Now) -> Mapping[Key, Grant]:
    """Who would get how much at this moment, and why, if `sharing` were the strategy. Nothing changes."""
    tried = attrs.evolve(state, site=attrs.evolve(state.site, sharing=sharing))
    after, _ = tick(tried, now)
    return {key: connector.grant for key, connector in after.connectors.items() if connector.grant is not None}
