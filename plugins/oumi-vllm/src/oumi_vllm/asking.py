"""One request on its way: rendered for vLLM, and its output read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from oumi_core.errors import ConfigError, EngineError
from oumi_core.types.completion import Chunk
from oumi_core.types.failure import Failure, FailureKind

from oumi_vllm import library
from oumi_vllm.answers import completion_of
from oumi_vllm.core import Prepared
from oumi_vllm.parsing import Parsers
from oumi_vllm.prompts import template_kwargs
from oumi_vllm.said import said
from oumi_vllm.sampling import Sampling, sampling_params
from oumi_vllm.tools import ToolUse, tool_use

if TYPE_CHECKING:
    from collections.abc import Callable

    from oumi_core.engine import Request
    from oumi_core.types.completion import Completion

    from oumi_vllm.prompts import Prompts

__all__ = ["Asked", "Asking"]


class Asking:
    """What all requests to one engine share.

    Attributes:
        prompts: makes what is rendered.
        sampling: makes the parameters.
        reasoning: the class of the reasoning parser; None without one.
    """

    def __init__(self, prompts: Prompts) -> None:
        self.prompts = prompts
        self.sampling = Sampling()
        self.reasoning: Callable[..., Any] | None = None

    def ask(self, request: Request, lora: Any, *, pieces: bool = False) -> Asked:
        """A request as it is to be sent.

        Raises:
            EngineError: it asks for what cannot be had; `bad_request`.
        """
        messages = self.prompts.messages(request)
        return Asked(self, request, messages, tool_use(request), lora, pieces)


@attrs.define
class Asked:
    """One request, from its rendering to its answer. `prepare` runs in the thread of the engine."""

    _shared: Asking
    _request: Request
    _messages: list[dict[str, Any]]
    _use: ToolUse
    _lora: Any
    _pieces: bool
    _parsers: Parsers | None = None
    _params: Any = None
    _shown: int = 0
    _shown_ids: int = 0

    def prepare(self, llm: Any) -> Prepared:
        """Render the prompt and settle the parameters, as vLLM takes them.

        Raises:
            Exception: vLLM refuses the request.
        """
        request, shared = self._request, self._shared
        tokenizer = llm.get_tokenizer()
        variables = template_kwargs(request)
        if self._use.parser is not None or shared.reasoning is not None:
            self._parsers = Parsers(tokenizer, self._use, shared.reasoning, variables)
        self._params = self._sampling_params()
        prompt = library.render(
            llm,
            self._messages,
            template=shared.prompts.template(request.model, tokenizer),
            template_kwargs=variables,
            tools=self._use.tools,
        )
        return Prepared(prompt, self._params, self._lora)

    def _sampling_params(self) -> Any:
        request = self._request
        keeps = self._parsers is not None and self._parsers.keeps_special_tokens
        if not (self._pieces or keeps or self._use.constraint):
            return self._shared.sampling.of(request)
        constraint = request.constraint or self._use.constraint
        params = sampling_params(request.generation, constraint, pieces=self._pieces)
        if keeps:
            params.skip_special_tokens = False
        return params

    def piece(self, output: Any) -> Chunk:
        """What a streamed output adds to those before it. Raises as `completion`."""
        _raise_if_refused(output)
        choice = output.outputs[0]
        shown, ids, self._shown = self._shown, self._shown_ids, len(choice.text)
        self._shown_ids = len(choice.token_ids)
        if self._use.constraint is not None:
            return Chunk()  # it is a tool call
        text: str = choice.text[shown:]
        if self._parsers is None:
            return Chunk(text)
        tokens = list(choice.token_ids)
        return self._parsers.piece(choice.text[:shown], text, tokens[:ids], tokens[ids:])

    def completion(self, output: Any) -> Completion:
        """The answer that an output makes.

        Raises:
            EngineError: vLLM refused the request or gave it up, or its engine core is gone.
        """
        _raise_if_refused(output)
        generation, model = self._request.generation, self._request.model
        alternatives = generation.top_logprobs or 0
        completion = completion_of(output, self._use, self._parsers, alternatives=alternatives)
        adapter = model.adapter_model
        return attrs.evolve(
            completion,
            model=f"{model.model_name}@{adapter}" if adapter else model.model_name,
            guided_backend=library.backend_of(self._params),
        )


def _raise_if_refused(outcome: Any) -> None:
    """Raise the error that stands in the place of an output."""
    if not isinstance(outcome, Exception):
        return
    if isinstance(outcome, ConfigError):
        raise EngineError.bad_request(str(outcome)) from outcome
    if library.is_fetch_fault(outcome):
        reason = f"an image of the row cannot be fetched ({type(outcome).__name__})"
        raise EngineError(Failure(FailureKind.TRANSIENT, reason)) from outcome
    # An OSError is that of an image, which is read with the prompt.
    if library.is_refusal(outcome) or isinstance(outcome, OSError):
        raise EngineError.bad_request(f"vLLM refuses the request: {said(outcome)}") from outcome
    raise outcome
