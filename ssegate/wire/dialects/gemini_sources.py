"""
What Gemini says its answer rests on: pages it has searched, documents it was given, texts it repeats.

Stretches of the answer are given in bytes of UTF-8; here they are characters. Sources are often repeated from
chunk to chunk, and each stretch with its source is told once.

Source: https://ai.google.dev/api/generate-content#GroundingMetadata, #CitationMetadata
"""

from __future__ import annotations

from collections.abc import Iterator

from ssegate.wire.dialects.gemini_chunk import Annotation, Candidate, Grounding, GroundingChunk, Source
from ssegate.wire.events import Citation

__all__ = ["Sources"]


class Sources:
    """The sources of one choice."""

    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._chunks: list[GroundingChunk] = []
        self._told: set[tuple[str | None, str | None, str | None, int | None, int | None]] = set()
        # The answer: how much of it is ASCII from its beginning, and what comes then.
        self._ascii = 0
        self._rest = bytearray()

    def add_text(self, text: str) -> None:
        """Take note of a piece of the answer."""
        if not self._rest and text.isascii():
            self._ascii += len(text)
        else:
            self._rest += text.encode(errors="replace")

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
        self._chunks = grounding.groundingChunks or self._chunks
        used = set()
        for support in grounding.groundingSupports or ():
            segment = support.segment
            for at in support.groundingChunkIndices or ():
                if segment is not None and 0 <= at < len(self._chunks):
                    used.add(at)
                    yield from self._cite(
                        _source(self._chunks[at]), segment.startIndex or 0, segment.endIndex
                    )
        for at, chunk in enumerate(grounding.groundingChunks or ()):
            if at not in used:
                yield from self._cite(_source(chunk), None, None)

    def _cite(self, source: Source | None, start: int | None, end: int | None) -> Iterator[Citation]:
        if source is None:
            return
        told = (source.uri, source.title, source.text, start, end)
        if told in self._told:
            return
        self._told.add(told)
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
        known = self._rest[: offset - self._ascii]
        beyond = offset - self._ascii - len(known)
        return self._ascii + len(known.decode(errors="ignore")) + beyond


def _source(chunk: GroundingChunk) -> Source | None:
    return chunk.web or chunk.retrievedContext or chunk.maps
