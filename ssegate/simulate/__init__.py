"""The built-in upstream: an LLM server without a model, for demos, tests and testers of clients."""

from ssegate.simulate.app import Received, Simulator
from ssegate.simulate.behaviour import OVERRIDE_HEADER, Behaviour
from ssegate.simulate.dialects import DIALECTS
from ssegate.simulate.faults import FAULTS

__all__ = ["DIALECTS", "FAULTS", "OVERRIDE_HEADER", "Behaviour", "Received", "Simulator"]
