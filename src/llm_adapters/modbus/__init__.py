"""Meters over Modbus TCP and RTU: `ModbusMeter` implements the port `Meter`, `poll` reads it every second."""

from llm_adapters.modbus.catalogue import Catalogue
from llm_adapters.modbus.line import Lines
from llm_adapters.modbus.meter import ModbusMeter
from llm_adapters.modbus.model_files import load_model
from llm_adapters.modbus.models import MeterModel, ModelError
from llm_adapters.modbus.poller import poll

__all__ = ["Catalogue", "Lines", "MeterModel", "ModbusMeter", "ModelError", "load_model", "poll"]
