"""Meters over Modbus TCP: `ModbusMeter` implements the port `Meter`, `poll` reads it every second."""

from llm_adapters.modbus.meter import ModbusMeter
from llm_adapters.modbus.models import MeterModel, ModelError, find_model, known_models, load_model
from llm_adapters.modbus.poller import poll

__all__ = ["MeterModel", "ModbusMeter", "ModelError", "find_model", "known_models", "load_model", "poll"]
