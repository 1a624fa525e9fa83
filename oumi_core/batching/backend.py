"""What carries a batch: a provider's batch API, a queue on this machine, or a plugin's own.

A backend carries *parts*: files of lines, each a request, none longer than the backend allows.
Core does all else, the same for every backend: it splits a batch into parts, keeps the manifest,
finds a part again after a crash, joins results to rows, checks answers and sends again what is
left.

    Batching        what `batching:` names (hook `oumi_batch_backends`); opens a backend
    BatchBackend    carries parts: uploads, starts, reports, hands out results, cancels
    Engine.batch_backend()    the backend of an engine whose provider has a batch API

A part is sent in two steps, each recorded when it is done, so that a crash loses nothing: `upload`
its file, then `submit` it with its token. After a crash in between, core looks for the token in
what `list` gives before it submits again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import attrs

from oumi_core.wire.body import write_body

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from oumi_core.batching.status import PartStatus
    from oumi_core.configs import InferenceConfig
    from oumi_core.engine import Engine, Request
    from oumi_core.guided.constraint import Constraint
    from oumi_core.run.plan import Plan
    from oumi_core.wire.batch import BatchLine

__all__ = ["BatchBackend", "BatchJob", "BatchLimits", "Batching", "Part"]


@attrs.frozen
class BatchLimits:
    """What fits into one part.

    Attributes:
        max_requests: the most lines; None for any number.
        max_bytes: the most bytes of the file; None for any number. A line that is longer than
            this fits into no part, and its row fails before anything is sent.
        enqueued_tokens: the most prompt tokens that may wait at the provider at once, in parts that
            are not at their end; None if nobody knows. Core estimates them.
    """

    max_requests: int | None = None
    max_bytes: int | None = None
    enqueued_tokens: int | None = None


@attrs.frozen
class Part:
    """A part of a batch, to be sent.

    Attributes:
        batch_id: the batch that it belongs to.
        token: names the part, for good and everywhere. A backend keeps it with the part where
            `list` finds it again (a provider: in the metadata, as `oumi_token`).
        path: the file of its lines.
        requests: the number of lines.
        size: the bytes of the file.
        sha256: of the file, as hexadecimal digits.
        model: the model that all its requests ask for.
        window: the time in which it must be done, such as `24h`; a backend without such windows
            ignores it.
    """

    batch_id: str
    token: str
    path: Path
    requests: int
    size: int
    sha256: str
    model: str
    window: str


class BatchBackend(ABC):
    """Carries the parts of one batch.

    Coroutines run on the private loop: a blocking call in them stops everything, so hand it to
    `asyncio.to_thread`. Each is sent once: core tries again what may pass by itself
    (`EngineError` with a failure that is retryable), and waits as long as a failure's
    `retry_after` says. Where a call sends more than one request to a server, it awaits
    `next_request` before each of the others, so that the limits of the config hold.

    Attributes:
        limits: what fits into one part.
        poll_seconds: between two looks at a part that is waited for: at first, and at most.
        as_given: True if `line` sends the body that a row brings (see `oumi_core.wire.given_body`)
            as it is. Such rows then come as they are; else their requests hold what the body asks
            for as generation parameters.
    """

    limits: BatchLimits = BatchLimits()
    as_given: ClassVar[bool] = False
    poll_seconds: ClassVar[tuple[float, float]] = (5.0, 60.0)

    def line(self, custom_id: str, request: Request) -> bytes:
        r"""One request as a line of a part's file, its `\n` included.

        Called in a thread, so it may block (to read an image). By default an object with
        `custom_id` and the `conversation` in Oumi's format.

        Args:
            custom_id: names the row, unique in its batch; at most 64 characters.
            request: what to ask.

        Raises:
            EngineError: it cannot be asked; the row fails with this failure, the others go on.
        """
        line = {"custom_id": custom_id, "conversation": request.conversation.to_dict()}
        return write_body(line) + b"\n"

    async def upload(self, part: Part) -> str | None:  # noqa: ARG002 - for those that override it
        """Bring a part's file to the backend; its id there.

        None, the default, where `submit` takes the file itself. After a crash a file may be
        uploaded a second time; what is uploaded and not submitted costs nothing.

        Raises:
            EngineError: it is refused, or did not get there.
        """
        return None

    @abstractmethod
    async def submit(self, part: Part, uploaded: str | None) -> str:
        """Have the backend start on a part; the handle by which it knows it from now on.

        Called once for each token, as long as nothing goes wrong. After a crash, and after a
        failure that leaves open whether it got there, core looks through `list` first.

        Args:
            part: the part.
            uploaded: what `upload` gave.

        Raises:
            EngineError: it is refused, or nobody knows whether it was taken.
        """

    @abstractmethod
    async def status(self, handle: str) -> PartStatus:
        """Where a part stands.

        Raises:
            EngineError: it cannot be asked; `not_found` if the backend does not know it (any
                more).
        """

    @abstractmethod
    def results(
        self, part: PartStatus, constraint: Constraint | None
    ) -> AsyncGenerator[BatchLine, None]:
        """The results of a part that are there, in any order: answers and errors.

        An async generator. Lines that cannot be read are given with `custom_id` None and the
        failure that says why. Nothing is given for rows that are not done. Of a part that is not
        at its end it gives what can be had already, perhaps nothing.

        Args:
            part: the part, as `status` gave it last.
            constraint: what its requests held, for a backend that has to translate answers back;
                None if they held none.

        Raises:
            EngineError: they cannot be read to their end; core asks for all of them again.
        """

    @abstractmethod
    async def cancel(self, handle: str) -> None:
        """Ask for a part to be stopped; it may take a while. No error if it has ended already.

        Raises:
            EngineError: it cannot be asked.
        """

    @abstractmethod
    def list(self) -> AsyncGenerator[PartStatus, None]:
        """All parts that the backend knows, the newest first, page by page as they are asked for.

        An async generator; core stops it at the part that it looks for.

        Raises:
            EngineError: they cannot be listed.
        """

    async def forget(self, handle: str) -> None:  # noqa: B027 - optional
        """Drop what is kept on this machine for a part whose batch is forgotten."""


@attrs.frozen
class BatchJob:
    """A batch, as the one that opens a backend for it sees it.

    Attributes:
        batch_id: the batch.
        engine: the name by which any process finds the engine.
        config: the effective config of the submission. It holds no key.
        plan: the same, worked out.
        folder: for files of this kind of backend, private to the user; it may not be there yet.
        using: makes and starts an engine for a plan, for the length of an `async with`.
    """

    batch_id: str
    engine: str
    config: InferenceConfig
    plan: Plan
    folder: Path
    using: Callable[[Plan], AbstractAsyncContextManager[Engine]]


class Batching(ABC):
    """Where batches go: what a plugin offers by `oumi_batch_backends` and `batching:` names.

    Attributes:
        contract: the version of this contract that the class was written for.
        elsewhere: True if another process makes the engine, from the config of the job alone: core
            then refuses a config that holds a key, or what cannot be written down, and the
            requests it gives to `line` are the rows as they came, for a run that prepares them.
        keeps: False if its backends keep nothing on this machine: they are then not asked to
            `forget` a batch whose results are all here, so that this needs no key.
    """

    contract: ClassVar[int] = 1
    elsewhere: ClassVar[bool] = False
    keeps: ClassVar[bool] = True

    @abstractmethod
    def opened(self, job: BatchJob) -> AbstractAsyncContextManager[BatchBackend]:
        """A backend for a batch, for the length of an `async with`.

        Raises:
            ConfigError: this batch cannot go there; says why and what to do.
        """
