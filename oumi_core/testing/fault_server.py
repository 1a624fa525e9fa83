"""`FaultServer`: a server on a real socket that does what its script says."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from oumi_core.testing.connection import Connection
from oumi_core.testing.replies import completion, reply_to

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    from oumi_core.testing.received import Received
    from oumi_core.testing.replies import Entry, Reply

__all__ = ["FaultServer"]

_HOST = "127.0.0.1"
_BACKLOG = 2048


class FaultServer:
    """Answers each request with the next line of a script, and remembers what came and when.

        with FaultServer([too_many(2), stall(), cut_body()]) as server:
            ...  # point an engine at server.url
        assert [request.path for request in server.requests] == ...

    It serves HTTP/1.1 from a thread of its own, on 127.0.0.1 and a free port, and takes any number
    of connections. All that it counts may be read from any thread, also after it is closed.
    Leaving the `with` block breaks all connections off and ends the thread.

    Args:
        script: the lines, taken in the order in which requests arrive, whatever their path.
        then: what to do with requests after the last line; a good answer by default. A function
            is called with each request, from the server's thread, and gives a line.
        tls: serve HTTPS with this context.
    """

    def __init__(
        self,
        script: Iterable[Entry] = (),
        *,
        then: Entry | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._script = iter(script)
        self._then = completion() if then is None else then
        self._tls = tls
        self._requests: list[Received] = []
        self._failures: list[Exception] = []
        self._accepted = 0
        self._in_flight = 0
        self._most_in_flight = 0
        self._port: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = threading.Condition()
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread, asyncio.Server] | None
        self._running = None

    @property
    def url(self) -> str:
        """Where it listens, without a path, such as `http://127.0.0.1:40123`.

        Raises:
            RuntimeError: it was never started.
        """
        if self._port is None:
            raise RuntimeError("the server is not started: use it in a `with` block")
        return f"http{'s' if self._tls else ''}://{_HOST}:{self._port}"

    @property
    def requests(self) -> tuple[Received, ...]:
        """All requests that have arrived whole, in that order."""
        return tuple(self._requests)

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._tasks)

    @property
    def in_flight(self) -> int:
        """How many requests are being answered now."""
        return self._in_flight

    @property
    def most_in_flight(self) -> int:
        """The most requests that were being answered at one time."""
        return self._most_in_flight

    def wait_until(self, condition: Callable[[FaultServer], bool], seconds: float = 10.0) -> bool:
        """Wait until something is true of the server; False if it is not in the time allowed.

        Args:
            condition: looked at after each change: `lambda server: server.in_flight == 3`.
            seconds: the most to wait.
        """
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), seconds)

    def __enter__(self) -> Self:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="fault-server", daemon=True)
        thread.start()
        server = asyncio.run_coroutine_threadsafe(self._open(), loop).result()
        self._port = server.sockets[0].getsockname()[1]
        self._running = (loop, thread, server)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:
            (loop, thread, server), self._running = self._running, None
            asyncio.run_coroutine_threadsafe(self._close(server), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        if self._failures and error is None:
            raise self._failures[0]  # a function in the script is broken

    async def _open(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._connected, _HOST, 0, ssl=self._tls, backlog=_BACKLOG
        )

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
        await asyncio.sleep(0)  # transports let go of their sockets in the next turn

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        connection = Connection(
            self._accepted, reader, writer, answer=self._answer, answered=self._answered
        )
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._tasks.add(task)
        task.add_done_callback(self._disconnected)
        self._tell()

    def _disconnected(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and isinstance(found := task.exception(), Exception):
            self._failures.append(found)
        self._tell()

    def _answer(self, request: Received) -> Reply:
        self._requests.append(request)
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        self._tell()
        try:
            return reply_to(request, next(self._script, self._then))
        except Exception:
            self._answered()
            raise

    def _answered(self) -> None:
        self._in_flight -= 1
        self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
