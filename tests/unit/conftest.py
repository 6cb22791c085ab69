"""How Hypothesis searches: quickly for every commit, for long on demand (`HYPOTHESIS_PROFILE=thorough`)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The machine decides how long an example takes, so no example has a deadline; a slow test shows in --durations.
settings.register_profile("commit", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", parent=settings.get_profile("commit"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))
