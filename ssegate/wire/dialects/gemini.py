"""
Gemini's streams, the Developer API's and Vertex's: chunks of ``generateContent``, and Interactions.

Chunks have no end mark: an answer is over with its finish reason. Where a prompt is refused there is none,
the refusal is the finish. Thinking comes as parts of the answer, usage with every chunk. Older Vertex models
say ``STOP`` with every chunk and the real reason with the last, so a finish may be told again.

Source: https://ai.google.dev/api/generate-content and recorded bodies.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ssegate.wire.dialects.base import JSONDialect
from ssegate.wire.dialects.bounds import Bounds, Seen
from ssegate.wire.dialects.carry import is_neutral
from ssegate.wire.dialects.failure import failure_in
from ssegate.wire.dialects.gemini_calls import Calls
from ssegate.wire.dialects.gemini_chunk import CHUNK, Candidate, Chunk, Feedback, Interaction, Part
from ssegate.wire.dialects.gemini_sources import Sources
from ssegate.wire.dialects.gemini_steps import Steps
from ssegate.wire.dialects.reasons import finish_reason
from ssegate.wire.dialects.usage import UsageSoFar
from ssegate.wire.events import End, Event, Finish, Frame, Reasoning, Text, ToolCall, Usage
from ssegate.wire.payload import says

__all__ = ["Gemini"]

EVENTS = {
    *("interaction.created", "interaction.status_update", "interaction.in_progress"),
    *("interaction.completed", "interaction.requires_action", "interaction.failed"),
    *("step.start", "step.delta", "step.stop", "error"),
}
"""What happens in an interaction."""

ENDS = ("interaction.completed", "interaction.requires_action", "interaction.failed")
NO_REASONS = ("", "0", "FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")


class Gemini(JSONDialect[Chunk]):
    """Reads chunks, complete answers, which have the same shape, and the events of interactions."""

    name: ClassVar[str] = "gemini"
    decoder = CHUNK
    # Counts that run; those of the last frame, which is never joined, are the ones that stay.
    volatile: ClassVar[tuple[str, ...]] = ("candidatesTokenCount", "thoughtsTokenCount", "totalTokenCount")

    def __init__(self) -> None:
        super().__init__()
        self._usage = UsageSoFar()
        self._bounds, self._cited = Bounds(), Seen()
        self._calls: dict[int, Calls] = {}
        self._sources: dict[int, Sources] = {}
        self._reasons: dict[int, int] = {}  # the hashes of words
        self._steps = Steps(self._bounds)

    def _events(self, chunk: Chunk, frame: Frame) -> list[Event]:
        kind = chunk.event_type or frame.event
        if kind in EVENTS:
            return self._event(kind, chunk, frame)
        if self._is_complete(chunk):
            return self._whole(chunk, frame)
        said = self._start(chunk.responseId, chunk.modelVersion)
        candidates = chunk.candidates or ()
        for place, candidate in enumerate(candidates):
            self._candidate(candidate, _choice(candidate, place), said)
        said += self._usage.add(chunk.usageMetadata)
        if says(chunk.error):
            return [*said, failure_in(frame.data)]
        for place, candidate in enumerate(candidates):
            said += self._finish(_choice(candidate, place), candidate.finishReason)
        if chunk.promptFeedback is not None:
            said += self._refusal(chunk.promptFeedback)
        return said

    def _event(self, kind: str, chunk: Chunk, frame: Frame) -> list[Event]:
        """Read an event of an interaction."""
        interaction = chunk.interaction or Interaction()
        said = [*self._start(interaction.id, interaction.model), *self._steps.read(kind, chunk)]
        said += self._usage.add(interaction.usage or (chunk.metadata and chunk.metadata.usage))
        has_failed = kind in ("error", "interaction.failed") or interaction.status == "failed"
        if has_failed or says(chunk.error) or says(interaction.error):
            said.append(failure_in(frame.data))
        elif kind in ENDS:
            said += self._finish(0, interaction.status or kind.partition(".")[2])
        return said

    def _whole(self, chunk: Chunk, frame: Frame) -> list[Event]:
        """Read a complete interaction."""
        said = self._start(chunk.id, chunk.model)
        for at, step in enumerate(chunk.steps or ()):
            said += self._steps.whole(at, step)
        said += self._usage.add(chunk.usage)
        if says(chunk.error) or chunk.status == "failed":
            return [*said, failure_in(frame.data)]
        return [*said, *self._finish(0, chunk.status), End()]

    def _candidate(self, candidate: Candidate, choice: int, said: list[Event]) -> None:
        """Add what a candidate brings, but for its end."""
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._part(part, choice, said)
        if candidate.finishReason and choice in self._calls:
            said += self._calls[choice].close()
        if candidate.groundingMetadata is not None or candidate.citationMetadata is not None:
            said += self._sources_of(choice).read(candidate)

    def _part(self, part: Part, choice: int, said: list[Event]) -> None:
        if part.text:
            if part.thought:
                said.append(Reasoning(part.text, choice))
            else:
                self._sources_of(choice).add_text(part.text)
                said.append(Text(part.text, choice))
        if part.functionCall is not None:
            if choice not in self._calls:
                self._calls[choice] = Calls(choice, self._bounds)
            said += self._calls[choice].read(part.functionCall)

    def _sources_of(self, choice: int) -> Sources:
        if choice not in self._sources:
            self._sources[choice] = Sources(choice, self._cited, self._bounds)
        return self._sources[choice]

    def _finish(self, choice: int, reason: str | int | None) -> list[Event]:
        word = _word(reason)
        told = self._reasons.get(choice)
        # Only the finish of choice 0 is held for the end of the stream; others have left.
        if word is None or hash(word) == told or (told is not None and choice):
            return []
        self._reasons[choice] = hash(word)
        return [Finish(finish_reason(word), word, choice)]

    def _refusal(self, feedback: Feedback) -> list[Event]:
        """Read why the prompt was blocked, whatever the reason: nothing else will come."""
        word = _word(feedback.blockReason)
        if word is None or self._reasons:
            return []
        self._reasons[0] = hash(word)
        return [Finish("content_filter", word)]

    def _is_complete(self, chunk: Chunk) -> bool:
        return chunk.object == "interaction"

    def _alone(self) -> Event | None:
        """Return the one event of the last frame, usage not counted: that comes with every frame."""
        others = [event for event in self._said if not isinstance(event, Usage)]
        return others[0] if len(others) == 1 else None

    def _growing(self, chunk: Chunk, event: Event) -> str | None:
        match event:
            case Text():
                return "text"
            case Reasoning() if chunk.candidates is not None:
                return "text"  # a thought's summary in an interaction comes whole
            case ToolCall(name=None) if chunk.delta is not None:
                return "arguments"
        return None

    @staticmethod
    def _joinable(chunk: dict[str, Any], growing: str, grown: str) -> bool:
        """Say whether the chunk holds one string that grows, and besides what is the same in every chunk."""
        if "delta" in chunk:
            known = {"index", "event_type", "event_id", "delta"}
            holder, quiet = chunk["delta"], {"type"}
        else:
            known = {
                "candidates",
                "usageMetadata",
                "modelVersion",
                "responseId",
                "createTime",
                "promptFeedback",
            }
            (candidate,) = chunk["candidates"]
            (holder,) = candidate["content"]["parts"]
            quiet = {"thought"}
            if not _is_quiet(candidate, {"index", "content", "safetyRatings"}):
                return False
            if not _is_quiet(candidate["content"], {"role", "parts"}):
                return False
        return holder[growing] == grown and _is_quiet(chunk, known) and _is_quiet(holder, {growing, *quiet})


def _choice(candidate: Candidate, place: int) -> int:
    return place if candidate.index is None else candidate.index


def _word(reason: str | int | None) -> str | None:
    """Return a reason as a word, or None where nothing is said; numbers are those of an enum."""
    word = "" if reason is None else str(reason)
    return None if word in NO_REASONS else word


def _is_quiet(members: dict[str, Any], known: set[str]) -> bool:
    return all(is_neutral(value) for name, value in members.items() if name not in known)
