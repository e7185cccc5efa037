"""A real llama.cpp server whose model says what ``scripts.py`` tells it."""

from .scripts import SCRIPTS, Call, Script
from .serving import Llama, Missing, serving

__all__ = ["SCRIPTS", "Call", "Llama", "Missing", "Script", "serving"]
