"""The JSON API: what scripts and other systems see and change."""

from llm_adapters.web.api.routes import api_routes

__all__ = ["api_routes"]
