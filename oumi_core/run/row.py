"""One row: from a conversation to a result, whatever happens on the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.guided.decoder import Fault, Refusal
from oumi_core.types.completion import Completion, FinishReason
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Conversation, Message

__all__ = ["Row", "classified"]


class Row:
    """Answers rows for one run: asks the engine and judges what it says."""

    def __init__(self, engine: Engine, plan: Plan) -> None:
        self._engine = engine
        self._model = plan.model
        self._generation = plan.generation
        self._constraint = plan.constraint
        self._decoder = plan.decoder
        self._capabilities = engine.capabilities

    async def answer(self, index: int, conversation: Conversation) -> Result:
        """The outcome of one row. Raises nothing but a cancellation."""
        started = time.perf_counter()
        try:
            request = self.request(index, conversation)
            completion = await self._engine.complete(request)
            if not isinstance(completion, Completion):
                raise TypeError(type(completion).__name__)  # noqa: TRY301 - the engine's defect
            return self.judge(index, conversation, completion, time.perf_counter() - started)
        except Exception as error:  # noqa: BLE001 - engines and decoders are strangers' code
            return Result(
                index,
                conversation,
                error=classified(self._engine, error),
                latency=time.perf_counter() - started,
                exception=None if isinstance(error, EngineError) else error,
            )

    def request(self, index: int, conversation: Conversation) -> Request:
        """What is sent for a row.

        Raises:
            EngineError: the row holds something that this engine cannot take.
        """
        if not conversation.messages:
            raise _refused("the conversation has no messages")
        if not self._capabilities.images and _has_images(conversation):
            raise _refused("this engine takes no images")
        request = Request(
            conversation,
            self._model,
            self._generation,
            self._constraint,
            conversation.conversation_id or str(index),
        )
        if self._decoder is None:
            return request
        prepared = self._decoder.prepare(request, self._capabilities)
        if isinstance(prepared, Refusal):
            raise _refused(prepared.reason)
        return prepared

    def judge(
        self, index: int, conversation: Conversation, completion: Completion, latency: float
    ) -> Result:
        """The result that an answer makes: accepted, or failed with the reason."""
        usage = completion.usage
        # `.value` runs Python code: 0.1 us more.
        metadata: dict[str, object] = {"finish_reason": str(completion.finish_reason)}
        if usage is not None:
            metadata["usage"] = usage.to_dict()
        error, parsed, checked = self._verdict(completion)
        if error is not None:
            return Result(index, conversation, completion, error, None, checked, 1, latency)
        replied = conversation.with_reply(completion.message, metadata)
        return Result(index, replied, completion, None, parsed, checked, 1, latency)

    def _verdict(self, completion: Completion) -> tuple[Failure | None, object, bool | None]:
        if completion.refusal is not None:
            return Failure(FailureKind.REFUSAL, "the model declined to answer"), None, None
        if completion.finish_reason is FinishReason.CONTENT_FILTER:
            return _failure(FailureKind.CONTENT_FILTER, "the provider filtered the answer")
        if self._decoder is None or completion.message.tool_calls:
            return None, None, None
        verdict = self._decoder.check(completion)
        if not isinstance(verdict, Fault):
            return None, verdict.parsed, verdict.checked
        if completion.finish_reason is FinishReason.LENGTH:
            limit = self._generation.max_new_tokens
            return _failure(
                FailureKind.TRUNCATED,
                f"the answer was cut at generation.max_new_tokens ({limit}), so that it "
                f"{verdict.reason}; allow it more tokens",
            )
        return _failure(FailureKind.INVALID_OUTPUT, f"the answer {verdict.reason}")


def _failure(kind: FailureKind, message: str) -> tuple[Failure, None, bool]:
    return Failure(kind, message), None, True


def _refused(message: str) -> EngineError:
    return EngineError(Failure(FailureKind.BAD_REQUEST, message))


def _has_images(conversation: Conversation) -> bool:
    messages: list[Message] = conversation.messages
    return any(
        not isinstance(message.content, str) and message.contains_images() for message in messages
    )


def classified(engine: Engine, error: Exception) -> Failure:
    """What the engine says that an exception of its own means."""
    try:
        return engine.classify(error)
    except Exception as defect:  # noqa: BLE001 - as above: a stranger's code
        return Failure(
            FailureKind.INTERNAL,
            f"the engine raised {type(error).__name__}, "
            f"and {type(defect).__name__} while it classified that",
        )
