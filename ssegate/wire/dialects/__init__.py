"""Dialects: what the frames of each vendor say."""

from __future__ import annotations

from collections.abc import Callable

from ssegate.wire.dialects.anthropic import Anthropic
from ssegate.wire.dialects.assistants import Assistants
from ssegate.wire.dialects.auto import detect
from ssegate.wire.dialects.bedrock import Bedrock
from ssegate.wire.dialects.cohere import Cohere
from ssegate.wire.dialects.gemini import Gemini
from ssegate.wire.dialects.http_error import read_error
from ssegate.wire.dialects.llamacpp import LlamaCpp
from ssegate.wire.dialects.ollama import Ollama
from ssegate.wire.dialects.openai import OpenAI
from ssegate.wire.dialects.replicate import Replicate
from ssegate.wire.dialects.responses import Responses
from ssegate.wire.dialects.text import Text
from ssegate.wire.dialects.tgi import TGI
from ssegate.wire.dialects.watsonx import WatsonX
from ssegate.wire.seams import Dialect

__all__ = ["DIALECTS", "detect", "read_error"]

DIALECTS: dict[str, Callable[[], Dialect]] = {
    "openai": OpenAI,
    "responses": Responses,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "bedrock": Bedrock,
    "ollama": Ollama,
    "cohere": Cohere,
    "tgi": TGI,
    "llamacpp": LlamaCpp,
    "replicate": Replicate,
    "watsonx": WatsonX,
    "text": Text,
    "assistants": Assistants,  # no name of the configuration: auto finds it
}
