"""One private event loop in one thread a process, which every engine and run lives on.

Blocking calls hand a coroutine over and wait, so they work in a script, in a notebook (whose own
loop is running) and from several threads at once. Nothing here makes a loop or thread per call.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from oumi_core.errors import OumiError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["Job", "Threads", "close_at_exit", "run_async", "run_blocking", "run_soon"]

P = ParamSpec("P")
T = TypeVar("T")

_EXIT_SECONDS = 10.0
"""How long the interpreter's end waits for engines to close."""


class Threads(ThreadPoolExecutor):
    """Threads for what blocks, of use to the interpreter's very end.

    All pools are shut down before `atexit` has its turn, where engines are stopped. What is handed
    over from then on runs in the thread that hands it over: little else is left to do there.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Hand a call over; see the class."""
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:  # "cannot schedule new futures after interpreter shutdown"
            future: Future[T] = Future()
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - handed on, as a pool does
                future.set_exception(error)
            return future


class _LoopThread:
    """The loop and its thread. Belongs to the process that made it: a fork makes its own."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._stopping = False
        self.loop = _new_loop()
        self.loop.set_default_executor(Threads(thread_name_prefix="oumi"))
        self._thread = threading.Thread(target=self._serve, name="oumi-loop", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._stopping:
            # A task that lets SystemExit out ends `run_forever`; it must not end everyone's loop.
            # The task has it as its outcome, like any other exception.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - optional: makes HTTP cheaper where installed
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


_lock = threading.Lock()
_shared: _LoopThread | None = None
_running: set[Job[Any]] = set()
"""What runs holds itself: else the garbage collector might end it, in whatever thread it runs."""

_closers: dict[int, Callable[[], Coroutine[Any, Any, None]]] = {}
_soon: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()


def _loop_thread() -> _LoopThread:
    global _shared  # noqa: PLW0603 - one loop a process is the point
    with _lock:
        if _shared is None or _shared.pid != os.getpid():
            _closers.clear()  # after a fork: those engines are the parent's to close
            _shared = _LoopThread()
            _shared.loop.call_soon_threadsafe(_begin_soon)
        return _shared


def run_soon(make: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Have a coroutine run on the private loop, as soon as there is one; nobody waits for it.

    For the garbage collector, which calls in the middle of anything, the making of that loop
    included: no lock is taken.
    """
    _soon.append(make)
    shared = _shared
    if shared is not None and shared.pid == os.getpid():
        shared.loop.call_soon_threadsafe(_begin_soon)


def _begin_soon() -> None:
    while _soon:
        Job(_soon.popleft()())


class Job(Generic[T]):
    """A coroutine that runs on the private loop, as seen from outside that loop.

    `asyncio.run_coroutine_threadsafe` gives a future that counts as done the moment it is
    cancelled, while the coroutine is still letting go of what it holds. A job is done when its
    coroutine is.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._thread = _loop_thread()
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._cancel_asked = False
        self._settled = threading.Event()
        self._callbacks: list[Callable[[], object]] = []
        _running.add(self)
        self._thread.loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        self._task = self._thread.loop.create_task(self._coroutine)
        self._task.add_done_callback(self._end)
        if self._cancel_asked:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        _running.discard(self)
        if not task.cancelled():
            task.exception()  # seen: whoever holds the job asks for its result
        self._settled.set()
        for callback in self._callbacks:
            callback()

    def done(self) -> bool:
        """True if the coroutine has ended, in whatever way."""
        return self._settled.is_set()

    def cancel(self) -> None:
        """Ask the coroutine to stop, once; returns at once.

        A second time would strike what it does to let go of what it holds.
        """
        if not self._cancel_asked and not self.done():
            self._cancel_asked = True
            self._thread.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def when_done(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the loop's thread when the coroutine has ended; soon if it has."""
        self._thread.loop.call_soon_threadsafe(self._add_callback, callback)

    def _add_callback(self, callback: Callable[[], object]) -> None:
        if self.done():
            callback()
        else:
            self._callbacks.append(callback)

    def wait(self) -> None:
        """Block until the coroutine has ended. Ctrl-C leaves the wait, not the coroutine.

        Raises:
            OumiError: called on the private loop itself, where waiting would never end.
        """
        if self._thread.is_current():
            self.cancel()
            raise OumiError(
                "a blocking call was made from inside an engine; use its awaitable twin there"
            )
        self._settled.wait()

    async def wait_async(self) -> None:
        """Wait in another loop until the coroutine has ended."""
        loop = asyncio.get_running_loop()
        ready = loop.create_future()

        def settle() -> None:
            if not ready.done():
                ready.set_result(None)

        self.when_done(lambda: loop.call_soon_threadsafe(settle))
        await ready

    def result(self) -> T:
        """What the coroutine returned, once it has ended; raises what it raised."""
        if self._task is None:
            raise asyncio.CancelledError
        return self._task.result()


def run_blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the private loop and wait for it.

    Ctrl-C cancels the coroutine, waits until it has let go, and is raised again.
    """
    job = Job(coroutine)
    try:
        job.wait()
    except KeyboardInterrupt:
        job.cancel()
        job.wait()
        raise
    return job.result()


async def run_async(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the private loop and await it from another loop, or from that one."""
    if _loop_thread().is_current():
        return await coroutine
    job = Job(coroutine)
    try:
        await job.wait_async()
    except asyncio.CancelledError:
        job.cancel()
        await job.wait_async()
        raise
    return job.result()


def close_at_exit(owner: object, close: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    """Have `close` run before the interpreter ends; None takes `owner` off the list."""
    if close is None:
        _closers.pop(id(owner), None)
    else:
        _closers[id(owner)] = close


@atexit.register
def _close_all() -> None:
    shared = _shared
    if shared is None or shared.pid != os.getpid():
        return

    async def close() -> None:
        async with asyncio.timeout(_EXIT_SECONDS):
            await asyncio.gather(*(closer() for closer in list(_closers.values())))

    job = Job(close())
    job.wait()
    shared.stop()
    # An engine that does not close in time must not keep the interpreter from ending.
    if not isinstance(_outcome(job), TimeoutError | None):
        job.result()


def _outcome(job: Job[None]) -> BaseException | None:
    try:
        job.result()
    except BaseException as error:  # noqa: BLE001 - handed back to be looked at
        return error
    return None
