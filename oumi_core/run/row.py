"""One row: from a conversation to a result, whatever happens on the way."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import attrs

from oumi_core.engine import Request
from oumi_core.errors import EngineError
from oumi_core.guided.decoder import Accepted, Fault, Refusal
from oumi_core.run.addresses import Addresses
from oumi_core.run.own_params import OwnParams
from oumi_core.types.completion import Completion, FinishReason
from oumi_core.types.conversation import Conversation
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.maker import maker_of
from oumi_core.types.result import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from oumi_core.engine import Engine
    from oumi_core.run.plan import Plan
    from oumi_core.types.conversation import Message

__all__ = ["Row", "classified"]


class Row:
    """Answers rows for one run: asks the engine and judges what it says."""

    def __init__(self, engine: Engine, plan: Plan, *, alike: bool = False) -> None:
        """Make it; `alike` if all rows ask by this plan, whatever they bring."""
        self._engine = engine
        self._model = plan.model
        self._addresses = Addresses(engine, plan.model)
        self._generation = plan.generation
        self._constraint = plan.constraint
        self._decoder = plan.decoder
        self._capabilities = engine.capabilities
        make = functools.partial(Row, engine, alike=True)
        self._own = None if alike else OwnParams(plan, engine.capabilities, make)

    def ask(
        self, index: int, conversation: Conversation, request: Request | None
    ) -> Awaitable[Completion]:
        """What the engine says to a row, or to another request that is sent for it.

        Raises:
            EngineError: the row holds something that this engine cannot take.
        """
        return self._engine.complete(request or self.request(index, conversation))

    def failed(
        self, index: int, conversation: Conversation, error: BaseException, latency: float
    ) -> Result:
        """The result of a row in which the engine raised."""
        return Result(
            index,
            conversation,
            error=classified(self._engine, error),
            latency=latency,
            exception=None if isinstance(error, EngineError) else error,
        )

    def request(self, index: int, conversation: Conversation) -> Request:
        """What is sent for a row.

        Raises:
            EngineError: the row holds something that this engine cannot take.
        """
        if not isinstance(conversation, Conversation):
            kind = type(conversation).__name__  # type: ignore[unreachable]  # of untyped callers
            raise EngineError.bad_request(
                f"the row is a {kind}, not a Conversation; see Conversation.from_dict"
            )
        if not conversation.messages:
            raise EngineError.bad_request("the conversation has no messages")
        if not self._capabilities.images and _has_images(conversation):
            raise EngineError.bad_request("this engine takes no images")
        model = self._model
        if conversation.extra:  # most rows have none: each of these calls would take 0.1 us
            own = None if self._own is None else self._own.row_for(conversation)
            if own is not None:
                return own.request(index, conversation)
            model = self._addresses.model_of(conversation)
        request = _request(
            conversation,
            model,
            self._generation,
            self._constraint,
            conversation.conversation_id or str(index),
        )
        if self._decoder is None:
            return request
        prepared = self._decoder.prepare(request, self._capabilities)
        if isinstance(prepared, Refusal):
            raise EngineError.bad_request(prepared.reason)
        return prepared

    def reasked(self, request: Request, completion: Completion) -> Request | None:
        """What the guided decoder sends after an answer that did not fit; None if it gives up."""
        if (own := self._own_judge(request.conversation)) is not None:
            return own.reasked(request, completion)
        verdict = self._decoder.check(completion) if self._decoder is not None else None
        if self._decoder is None or not isinstance(verdict, Fault):
            return None
        return self._decoder.again(request, completion, verdict)

    def judge(
        self, index: int, conversation: Conversation, completion: Completion, latency: float
    ) -> Result:
        """The result that an answer makes: accepted, or failed with the reason.

        Raises:
            EngineError: it is no `Completion`.
        """
        if not isinstance(completion, Completion):
            raise _no_completion(completion)
        if conversation.extra and (own := self._own_judge(conversation)) is not None:
            return own.judge(index, conversation, completion, latency)
        if completion.refusal is not None and self._generation.on_refused == "accept":
            completion = _refusal_as_answer(completion, completion.refusal)
        usage = completion.usage
        # `.value` runs Python code: 0.1 us more.
        metadata: dict[str, object] = {"finish_reason": str(completion.finish_reason)}
        if usage is not None:
            metadata["usage"] = usage.to_dict()
        if completion.guided_backend is not None:
            metadata["guided_backend"] = completion.guided_backend
        error, parsed, checked = self._verdict(completion)
        if error is not None:
            return _result(index, conversation, completion, error, None, checked, 1, latency)
        if checked is False:
            metadata["constraint_checked"] = False
        replied = conversation.with_reply(completion.message, metadata)
        return _result(index, replied, completion, None, parsed, checked, 1, latency)

    def max_new_tokens(self, conversation: Conversation) -> int:
        """The most tokens that the answer to a row may have."""
        if isinstance(conversation, Conversation):  # else it is refused before it is sent
            own = self._own_judge(conversation)
            if own is not None:
                return own.max_new_tokens(conversation)
        return self._generation.max_new_tokens

    def _own_judge(self, conversation: Conversation) -> Row | None:
        return None if self._own is None else self._own.judge_for(conversation)

    def _verdict(self, completion: Completion) -> tuple[Failure | None, object, bool | None]:
        if completion.refusal is not None:
            return Failure(FailureKind.REFUSAL, "the model declined to answer"), None, None
        if completion.finish_reason is _FILTERED:
            return _failure(FailureKind.CONTENT_FILTER, "the provider filtered the answer")
        if completion.message.tool_calls:
            return None, None, None
        cut = completion.finish_reason is _LENGTH
        if self._decoder is None:
            return self._free_failure(completion, cut=cut), None, None
        return self._constrained_verdict(self._decoder.check(completion), cut=cut)

    def _constrained_verdict(
        self, verdict: Accepted | Fault, *, cut: bool
    ) -> tuple[Failure | None, object, bool | None]:
        if not isinstance(verdict, Fault):
            if cut and not verdict.checked:
                # Nobody can say whether it is whole, and most that were cut are not.
                return Failure(FailureKind.TRUNCATED, f"{_CUT}; {_MORE}"), None, False
            return None, verdict.parsed, verdict.checked
        if cut:
            return _failure(FailureKind.TRUNCATED, f"{_CUT}, so that it {verdict.reason}; {_MORE}")
        return _failure(FailureKind.INVALID_OUTPUT, f"the answer {verdict.reason}")

    def _free_failure(self, completion: Completion, *, cut: bool) -> Failure | None:
        if cut and self._generation.on_truncated != "accept":
            return Failure(FailureKind.TRUNCATED, f"{_CUT}; {_MORE}")
        if self._generation.on_empty != "accept" and not completion.text:
            return Failure(FailureKind.EMPTY, "the answer is empty")
        return None


# By the name of its class a member takes 0.1 us, and every row asks for both.
_LENGTH = FinishReason.LENGTH
_FILTERED = FinishReason.CONTENT_FILTER

# One of each a row.
_request = maker_of(Request)
_result = maker_of(Result)

_CUT = "the answer was cut at generation.max_new_tokens"
_MORE = "allow it more tokens, or set generation.on_truncated"


def _refusal_as_answer(completion: Completion, refusal: str) -> Completion:
    message = attrs.evolve(completion.message, content=completion.text or refusal)
    return attrs.evolve(completion, message=message, refusal=None)


def _no_completion(value: object) -> EngineError:
    kind = type(value).__name__
    reason = f"the engine's complete() gave a {kind}; it must return a Completion"
    return EngineError(Failure(FailureKind.INTERNAL, reason))


def _failure(kind: FailureKind, message: str) -> tuple[Failure, None, bool]:
    return Failure(kind, message), None, True


def _has_images(conversation: Conversation) -> bool:
    messages: list[Message] = conversation.messages
    return any(
        not isinstance(message.content, str) and message.contains_images() for message in messages
    )


def classified(engine: Engine, error: BaseException) -> Failure:
    """What the engine says that an exception of its own means."""
    if not isinstance(error, Exception):
        return Failure(FailureKind.INTERNAL, f"the engine raised {type(error).__name__}")
    try:
        failure = engine.classify(error)
        if isinstance(failure, Failure):
            return failure
        raise TypeError(type(failure).__name__)  # noqa: TRY301 - the engine's defect, as below
    except Exception as defect:  # noqa: BLE001 - as above: a stranger's code
        return Failure(
            FailureKind.INTERNAL,
            f"the engine raised {type(error).__name__}, "
            f"and {type(defect).__name__} while it classified that",
        )
