"""vLLM at work: one thread that loads the engine, feeds it, steps it and closes it.

`LLM.chat` is `add_request` and `step` in one thread, and so is this; it is the fastest of vLLM's
interfaces (its asyncio one takes twice the CPU beside the model), and hands out each answer with
the step that ends it. The model itself runs in processes of vLLM's own, so that a request that is
being rendered here holds up no token there.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import multiprocessing
import queue
import signal
import sys
import tempfile
import threading
import time
import types
from multiprocessing import connection, resource_tracker
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind

from oumi_vllm import library
from oumi_vllm.head_start import HeadStart
from oumi_vllm.orphans import followed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.process import BaseProcess

__all__ = ["Core", "Job", "Prepared"]

T = TypeVar("T")

_ONE_LOADS = threading.Lock()
"""What shelters the processes of one that is being loaded holds for the whole program."""

_SLICE = 0.02
"""Seconds for which requests are added before the answers that are there are looked at.

The prompts of 256 new rows must not hold them up. While there is no answer, adding goes on.
"""

_LOOK_SECONDS = 0.2
"""How often it is looked for processes to end while vLLM is still being loaded."""

_END_SECONDS = 3.0
"""How long the engine core may take to end before it is killed, with all that it started.

Nothing is lost by that; on a CPU, vLLM 0.32 was never seen to end by itself within ten.
"""


@attrs.frozen
class Prepared:
    """A request as vLLM's `add_request` takes it.

    Attributes:
        prompt: the rendered prompt.
        params: its `SamplingParams`.
        lora: its `LoRARequest`; None for the model itself.
    """

    prompt: Any
    params: Any
    lora: Any = None


@attrs.define(eq=False)
class Job:
    """A request under way.

    Attributes:
        prepare: renders the prompt; called in the thread that steps, with vLLM's `LLM`.
        deliver: takes each output of the request, or the error that ended it; called on the loop.
        id: names the request to vLLM; set when it is submitted.
    """

    prepare: Callable[[Any], Prepared]
    deliver: Callable[[Any], None]
    id: str = ""


@attrs.frozen
class _Call:
    """Something to be done between two steps."""

    what: Callable[[Any], Any]
    deliver: Callable[[Any], None]


@attrs.frozen
class _GiveUp:
    """A request is to be ended."""

    job: Job


class Core:
    """A loaded vLLM. Its methods are called on the loop that started it.

    Attributes:
        dead: why no request can be answered any more; None while they can.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        """`make` loads vLLM and gives its `LLM`; called in the thread."""
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._inbox: queue.SimpleQueue[Job | _Call | _GiveUp | None] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._held: dict[str, Prepared] = {}
        self._head_start = HeadStart()
        self._numbers = itertools.count()
        self._done: list[tuple[Job | _Call, Any]] = []
        self._llm: Any = None
        self._closing = False
        self._before: set[BaseProcess] | None = None
        self._own: set[BaseProcess] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._thread = threading.Thread(target=self._serve, name="oumi-vllm", daemon=True)
        self._loaded: asyncio.Future[Any] = self._loop.create_future()
        self.dead: EngineError | None = None

    # On the loop.

    async def start(self) -> Any:
        """Load; vLLM's `LLM`. Raises what `make` raised."""
        self._thread.start()
        return await self._loaded

    def submit(self, job: Job) -> None:
        """Begin a request, soon."""
        job.id = str(next(self._numbers))
        self._inbox.put(job)
        if self.dead is not None:
            self._refuse_rest()

    def give_up(self, job: Job) -> None:
        """End a request that nobody waits for."""
        self._inbox.put(_GiveUp(job))

    async def call(self, what: Callable[[Any], T]) -> T:
        """Call something with vLLM's `LLM` in the thread that owns it, between two steps."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._inbox.put(_Call(what, functools.partial(_settle, future)))
        if self.dead is not None:
            self._refuse_rest()
        return await future

    async def close(self) -> None:
        """Give up what is under way, end vLLM's processes, and wait until they have ended."""
        self._closing = True
        self._inbox.put(None)
        while self._thread.is_alive():
            if self._llm is None:  # it is being loaded, or closed
                for process in self._processes():
                    process.kill()
            await asyncio.to_thread(self._thread.join, _LOOK_SECONDS)

    def _refuse_rest(self) -> None:
        """Fail what was put in the inbox after the thread looked at it for the last time."""
        with contextlib.suppress(queue.Empty):
            while True:
                asked = self._inbox.get_nowait()
                if isinstance(asked, Job | _Call):
                    asked.deliver(self.dead)

    def _processes(self) -> set[BaseProcess]:
        """The processes that vLLM has started for this engine."""
        if self._own is not None:
            return self._own
        if self._before is None:
            return set()
        new = set(multiprocessing.active_children()) - self._before
        return {process for process in new if library.is_of_vllm(process.name)}

    # In the thread.

    def _serve(self) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="oumi-vllm-")
            with _ONE_LOADS, _sheltered(), followed(), library.sockets_in(self._folder.name):
                self._before = set(multiprocessing.active_children())
                self._llm = self._make()
                self._own = self._processes()
        except BaseException as error:  # noqa: BLE001 - handed on to whoever waits for the start
            self._end_processes()
            self._remove_folder()
            self._tell(_settle, self._loaded, error)
            return
        self._watch()
        self._tell(_settle, self._loaded, self._llm)
        try:
            while self._take():
                self._step()
        except Exception as error:  # noqa: BLE001 - whatever it is, no row can be answered now
            self.dead = _death(error)
        else:
            self.dead = EngineError(Failure(FailureKind.CANCELED, "the engine was stopped"))
        finally:
            self._shut_down()

    def _take(self) -> bool:
        """Take what was asked for, waiting where there is nothing to do; False at the end."""
        engine = self._llm.llm_engine
        self._send_held()
        wait = self._is_idle()
        until = time.monotonic() + (_SLICE if self._head_start.over else 0.0)
        while wait or time.monotonic() < until or not library.has_output(engine):
            try:
                asked = self._inbox.get(block=wait)
            except queue.Empty:
                break
            match asked:
                case None:
                    return False
                case Job():
                    self._add(asked)
                case _Call():
                    self._call(asked)
                case _GiveUp():
                    self._abort(asked.job)
            wait = self._inbox.empty() and self._is_idle()
            if wait:
                self._flush()
        self._flush()
        return True

    def _is_idle(self) -> bool:
        """True if vLLM has nothing to do, and there is nothing that it could be given."""
        engine = self._llm.llm_engine
        if not engine.has_unfinished_requests():
            self._head_start.begin()
            self._send_held()
        return not engine.has_unfinished_requests()

    def _add(self, job: Job) -> None:
        try:
            prepared = job.prepare(self._llm)
        except Exception as error:  # noqa: BLE001 - handed on to whoever asked
            self._done.append((job, error))
            return
        self._jobs[job.id] = job
        self._held[job.id] = prepared
        self._send_held()

    def _send_held(self) -> None:
        """Give vLLM what is rendered, in its order, as far as it is to have it now."""
        while self._held and self._head_start.allows:
            name = next(iter(self._held))
            self._send(name, self._held.pop(name))

    def _send(self, name: str, prepared: Prepared) -> None:
        try:
            self._llm.llm_engine.add_request(
                name, prepared.prompt, prepared.params, lora_request=prepared.lora
            )
        except Exception as error:
            self._done.append((self._jobs.pop(name), error))
            if library.is_dead(error):
                raise
        else:
            self._head_start.given(library.prompt_tokens(prepared.prompt))

    def _call(self, call: _Call) -> None:
        try:
            outcome: Any = call.what(self._llm)
        except Exception as error:  # noqa: BLE001 - handed on to whoever asked
            outcome = error
        self._done.append((call, outcome))

    def _abort(self, job: Job) -> None:
        if self._jobs.pop(job.id, None) is None or self._held.pop(job.id, None) is not None:
            return
        self._llm.llm_engine.abort_request([job.id])

    def _step(self) -> None:
        outputs = self._llm.llm_engine.step()
        for output in outputs:
            job = self._jobs.get(output.request_id)
            if job is None:
                continue  # it was given up
            if output.finished:
                del self._jobs[output.request_id]
            self._done.append((job, output))
        self._head_start.stepped(answered=any(output.finished for output in outputs))
        self._flush()

    def _flush(self) -> None:
        """Hand over all that is done: the loop is woken once a step, not once a row."""
        if self._done:
            done, self._done = self._done, []
            self._tell(_deliver, done)

    def _watch(self) -> None:
        """Have a thread notice the end of a process of vLLM's, of which not every `step` hears."""
        sentinels = [process.sentinel for process in self._processes()]

        def wait() -> None:
            connection.wait(sentinels)
            if not self._closing:
                library.wake(self._llm.llm_engine)

        if sentinels:
            threading.Thread(target=wait, name="oumi-vllm-watch", daemon=True).start()

    def _shut_down(self) -> None:
        self._closing = True
        self._done += [(job, self.dead) for job in self._jobs.values()]
        self._jobs.clear()
        with contextlib.suppress(Exception):  # of a core that is gone; what is left is ended below
            library.end(self._llm, _END_SECONDS)
        self._llm = None
        self._end_processes()
        self._remove_folder()
        self._flush()
        self._tell(self._refuse_rest)

    def _end_processes(self) -> None:
        until = time.monotonic() + _END_SECONDS
        for process in self._processes():
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(what, *arguments)


@contextlib.contextmanager
def _sheltered() -> Iterator[None]:
    """Start vLLM's processes so that they neither see Ctrl-C nor run the user's script.

    A terminal sends Ctrl-C to all processes at once. The core would end, and with it all rows in
    flight, which the run wants to keep; so the signal is blocked, which children inherit.

    And where vLLM spawns a process (on a CPU always), Python imports the main script in it once
    more, which in a script without a guard begins everything anew, and fails.
    """
    resource_tracker.ensure_running()  # starting it would unblock the signal again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if future.done():
        return
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _deliver(done: list[tuple[Job | _Call, Any]]) -> None:
    for asked, outcome in done:
        asked.deliver(outcome)


def _death(error: Exception) -> EngineError:
    return EngineError(
        Failure(
            FailureKind.ENGINE_DEAD,
            f"vLLM's engine core has ended ({type(error).__name__}): it was killed, ran out of "
            "memory or met an error, which its log (stderr) names; run the same again to go on",
        )
    )
