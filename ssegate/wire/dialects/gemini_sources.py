"""
What Gemini says its answer rests on: pages it has searched, documents it was given, texts it repeats.

Stretches of the answer are given in bytes of UTF-8; here they are characters. Sources are often repeated from
chunk to chunk, and each stretch with its source is told once.

Source: https://ai.google.dev/api/generate-content#GroundingMetadata, #CitationMetadata
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ssegate.wire.dialects.bounds import Bounds, Seen
from ssegate.wire.dialects.gemini_chunk import Annotation, Candidate, Grounding, GroundingChunk, Source
from ssegate.wire.events import Citation

__all__ = ["Sources"]

ROOM = 1600
"""Characters that a source takes beside its own."""


class Sources:
    """
    The sources of one choice.

    Args:
        told: Those of all choices.
        bounds: Of the stream.
    """

    __slots__ = ("_ascii", "_bounds", "_choice", "_chunks", "_held", "_is_known", "_rest", "_told")

    def __init__(self, choice: int, told: Seen, bounds: Bounds) -> None:
        self._choice, self._told, self._bounds = choice, told, bounds
        self._chunks: Sequence[GroundingChunk] = ()
        self._held = 0  # characters of them
        # The answer: how much of it is ASCII from its beginning, and what comes then, as far as it is kept.
        self._ascii = 0
        self._rest = bytearray()
        self._is_known = True

    def add_text(self, text: str) -> None:
        """Take note of a piece of the answer."""
        if not self._rest and text.isascii():
            self._ascii += len(text)
        elif self._is_known:
            rest = text.encode(errors="replace")
            self._is_known = self._bounds.hold(len(rest))
            if self._is_known:
                self._rest += rest

    def read(self, candidate: Candidate) -> Iterator[Citation]:
        """Yield the citations that *candidate* brings and that have not been told."""
        repeated = candidate.citationMetadata
        if repeated is not None:
            for source in repeated.citations or repeated.citationSources or ():
                yield from self._cite(source, source.startIndex, source.endIndex)
        if candidate.groundingMetadata is not None:
            yield from self._ground(candidate.groundingMetadata)

    def annotate(self, annotations: list[Annotation] | None) -> Iterator[Citation]:
        """Yield the citations that an interaction brings."""
        for note in annotations or ():
            source = Source(note.url or note.document_uri or note.source, note.title)
            yield from self._cite(source, note.start_index, note.end_index)

    def _ground(self, grounding: Grounding) -> Iterator[Citation]:
        chunks = grounding.groundingChunks or self._chunks
        used = set()
        for support in grounding.groundingSupports or ():
            segment = support.segment
            for at in support.groundingChunkIndices or ():
                if segment is not None and 0 <= at < len(chunks):
                    used.add(at)
                    yield from self._cite(_source(chunks[at]), segment.startIndex or 0, segment.endIndex)
        for at, chunk in enumerate(grounding.groundingChunks or ()):
            if at not in used:
                yield from self._cite(_source(chunk), None, None)
        if chunks is not self._chunks:
            self._keep(chunks)

    def _keep(self, chunks: Sequence[GroundingChunk]) -> None:
        """Keep sources for a later chunk that only says where they are used, if there is room for them."""
        self._bounds.release(self._held)
        size = sum(map(_size, chunks))
        has_room = self._bounds.hold(size)
        self._chunks, self._held = (chunks, size) if has_room else ((), 0)

    def _cite(self, source: Source | None, start: int | None, end: int | None) -> Iterator[Citation]:
        if source is None:
            return
        if not self._told.add((self._choice, source.uri, source.title, source.text, start, end)):
            return
        yield Citation(
            source.uri or None,
            source.title or None,
            source.text or None,
            self._characters(start),
            self._characters(end),
            self._choice,
        )

    def _characters(self, offset: int | None) -> int | None:
        """Return an offset in bytes as one in characters."""
        if offset is None or offset <= self._ascii:
            return offset
        if not self._is_known and offset - self._ascii > len(self._rest):
            return None  # behind what is kept of an answer longer than any has been
        known = self._rest[: offset - self._ascii]
        beyond = offset - self._ascii - len(known)
        return self._ascii + len(known.decode(errors="ignore")) + beyond


def _source(chunk: GroundingChunk) -> Source | None:
    return chunk.web or chunk.retrievedContext or chunk.maps


def _size(chunk: GroundingChunk) -> int:
    sources = [one for one in (chunk.web, chunk.retrievedContext, chunk.maps) if one is not None]
    texts = [text for one in sources for text in (one.uri, one.title, one.text) if text is not None]
    return ROOM + sum(map(len, texts))
