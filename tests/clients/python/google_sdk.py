"""Google's SDK for Gemini."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing

from google import genai
from google.genai import errors, types

from ..checking import Client, Part, installed

__all__ = ["CLIENTS"]


def content(base: str, patience: float) -> Iterator[Part]:
    options = types.HttpOptions(base_url=base, timeout=round(patience * 1000))
    with (
        genai.Client(api_key="mine", vertexai=False, http_options=options) as sdk,
        closing(sdk.models.generate_content_stream(model="gemini-any", contents="?")) as stream,
    ):
        for chunk in stream:
            for part in _parts(chunk):
                if part.function_call:
                    yield "call", (part.function_call.name, json.dumps(part.function_call.args))
                elif part.text:
                    yield "reasoning" if part.thought else "text", part.text


def _parts(chunk: types.GenerateContentResponse) -> list[types.Part]:
    said = [candidate.content for candidate in chunk.candidates or () if candidate.content]
    return [part for content in said for part in content.parts or ()]


CLIENTS = [
    Client(
        "google-genai",
        installed("google-genai"),
        content,
        errors.APIError,
        ("gemini",),
        limit=errors.ClientError,
    )
]
