"""
A language model that says what it is told: no training, no download, a few megabytes.

Its one transformer block adds nothing, its embeddings are one-hot, and its output matrix is a table of
successors. So whatever is sampled, at any temperature, is the successor of the last token, and a prompt
that ends in ``<|say:NAME|>`` is followed by that script, piece by piece, up to the end mark. The server
around it is the real one: templates, reasoning, tool calls, streaming and usage are llama.cpp's own.

File format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path

import gguf
import numpy as np
from gguf import TokenType

__all__ = ["build"]

CONTEXT = 16384
"""Tokens; tools in a prompt cost one a byte, because the vocabulary holds nothing but scripts."""

HEAD = 64
"""Width of the one attention head."""

UNKNOWN, BEGIN, END = range(3)
LENGTHS = (3, 1, 5, 2, 8, 4, 6)
"""Code points in a piece, over and over: as uneven as a real tokenizer's."""

CERTAIN = 50.0
"""A logit that leaves the other tokens no chance."""


class Vocabulary:
    """Tokens and, for each scripted one, its only successor."""

    def __init__(self) -> None:
        self.tokens = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256))]
        self.types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256]
        self.next: dict[int, int] = {}

    def add_script(self, name: str, text: str) -> None:
        """Chain *text* behind ``<|say:name|>``, every piece a token of its own."""
        last = self._add(f"<|say:{name}|>")
        for piece in self._pieces(text):
            token = self._add(piece)
            self.next[last] = token
            last = token
        self.next[last] = END

    def _add(self, piece: str) -> int:
        self.tokens.append(piece.encode())
        self.types.append(TokenType.USER_DEFINED)
        return len(self.tokens) - 1

    def _pieces(self, text: str) -> list[str]:
        """Cut *text* at code points; no piece may come twice, for a token has but one successor."""
        known = {token.decode() for token in self.tokens}
        pieces: list[str] = []
        lengths = cycle(LENGTHS)
        start = 0
        while start < len(text):
            ends = range(start + next(lengths), len(text) + 1)
            end = next((end for end in ends if text[start:end] not in known), len(text))
            piece = text[start:end]
            while piece in known:  # the last words are old: they join the piece before them
                piece = pieces.pop() + piece
            pieces.append(piece)
            known.add(piece)
            start = end
        return pieces


def build(path: Path, scripts: Mapping[str, str], template: str) -> None:
    """Write a model that knows *scripts* (name → text) and the chat *template* to *path*."""
    vocabulary = Vocabulary()
    for name, text in scripts.items():
        vocabulary.add_script(name, text)
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer, vocabulary, template)
    _fill(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: gguf.GGUFWriter, vocabulary: Vocabulary, template: str) -> None:
    size = len(vocabulary.tokens)
    writer.add_name("scripted")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(size + size % 2)
    writer.add_block_count(1)
    writer.add_feed_forward_length(HEAD)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_rope_dimension_count(HEAD)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_scores([0.0] * size)
    writer.add_token_types(vocabulary.types)
    writer.add_bos_token_id(BEGIN)
    writer.add_eos_token_id(END)
    writer.add_unk_token_id(UNKNOWN)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def _fill(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    size = len(vocabulary.tokens)
    width = size + size % 2
    successors = np.zeros((size, width), np.float16)
    for token in range(size):
        # A token outside the scripts ends the answer.
        successors[vocabulary.next.get(token, END), token] = CERTAIN
    writer.add_tensor("token_embd.weight", np.eye(size, width, dtype=np.float16))
    writer.add_tensor("output.weight", successors)
    writer.add_tensor("output_norm.weight", np.full(width, width**-0.5, np.float32))
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{norm}.weight", np.ones(width, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "ffn_gate", "ffn_up"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((HEAD, width), np.float16))
    for name in ("attn_output", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((width, HEAD), np.float16))
