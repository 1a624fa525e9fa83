"""The pace that a server bears is found, against nginx's own `limit_req`; in real seconds."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import attrs
import pytest
from oumi_core import get_engine
from oumi_core.types.conversation import Conversation, Message, Role

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.usefixtures("quiet_machine"),
]

ROW = Conversation([Message(Role.USER, "yes?")])
MESSAGE = {"role": "assistant", "content": "yes"}
ANSWER = json.dumps({"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]})

# What is limited has to be proxied: `return` answers before `limit_req` is asked.
CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections 512; }}
http {{
  log_format times '$msec $status';
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  map $status $wait {{ 429 '{hint}'; default ''; }}
  limit_req_zone $server_name zone=all:1m rate={rate}r/s;
  server {{
    listen 127.0.0.1:{port};
    server_name limited;
    access_log {folder}/access.log times buffer=1m;
    limit_req zone=all {burst};
    limit_req_status 429;
    add_header Retry-After $wait always;
    location / {{ proxy_pass http://127.0.0.1:{inner}; }}
  }}
  server {{
    listen 127.0.0.1:{inner};
    access_log off;
    default_type application/json;
    return 200 '{answer}';
  }}
}}
"""


@attrs.frozen
class Nginx:
    """nginx with a limit of requests a second, one at a time where there is no burst.

    Attributes:
        folder: where its files are.
        port: where it listens.
        inner: where it answers itself.
        hint: the `Retry-After` of what it refuses; empty for none.
        burst: what `limit_req` says of bursts.
    """

    folder: Path
    port: int
    inner: int
    hint: str
    burst: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def configure(self, rate: int) -> None:
        text = CONFIG.format(**attrs.asdict(self), rate=rate, answer=ANSWER)
        (self.folder / "nginx.conf").write_text(text, encoding="utf-8")

    def command(self, *more: str) -> list[str]:
        return [str(NGINX), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *more]

    def rise(self) -> None:
        """Take 40 a second from now on."""
        self.configure(40)
        subprocess.run(self.command("-s", "reload"), check=True, capture_output=True)

    def answers(self, expected: int) -> list[tuple[float, int]]:
        """When each request was answered, by nginx's clock, and with which status."""
        # It writes them when it is told to, not with each answer: it would wait for the disk.
        subprocess.run(self.command("-s", "reopen"), check=True, capture_output=True)
        until = time.monotonic() + 20.0
        while len(lines := (self.folder / "access.log").read_text("utf-8").splitlines()) < expected:
            assert time.monotonic() < until, f"{len(lines)} of {expected} answers"
            time.sleep(0.1)
        return [(float(line.split()[0]), int(line.split()[1])) for line in lines]


@pytest.fixture(scope="module")
def quiet_machine() -> None:
    """Waits until the load of the tests before has gone; skips if it is another's, and stays.

    On a busy machine nothing is sent evenly. What is left of a load is halved every 40 s.
    """
    until = time.monotonic() + 180.0
    while os.getloadavg()[0] > (os.cpu_count() or 1):
        if time.monotonic() > until:
            pytest.skip("the machine is too busy to send anything evenly")
        time.sleep(1.0)


@pytest.fixture
def nginx(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Nginx]:
    """nginx at 10 requests a second; the parameters are its hint and its burst."""
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], other.getsockname()[1]
    server = Nginx(tmp_path, *ports, *request.param)
    server.configure(10)
    with subprocess.Popen(server.command()) as process:
        try:
            _wait_for(server.port)
            yield server
        finally:
            process.terminate()


def _wait_for(port: int, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < until, "nginx does not listen"
            time.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(
    "nginx", [("", ""), ("1", "")], indirect=True, ids=["no hint", "Retry-After"]
)
def test_a_limit_of_ten_a_second_is_found_and_kept(nginx: Nginx) -> None:
    with get_engine("remote", model="m", api_url=nginx.url, num_workers=64) as engine:
        began = time.monotonic()
        results = list(engine.run([ROW] * 300))
        took = time.monotonic() - began
    answers = nginx.answers(expected=sum(result.attempts for result in results))
    refused = sum(status == 429 for _, status in answers)
    assert all(result.ok for result in results)
    assert len(answers) == 300 + refused
    assert refused <= 0.15 * len(answers)
    assert took <= 1.4 * 30


# With a small burst: at 40 a second without one, a request that is 6 ms late is refused.
@pytest.mark.parametrize(
    "nginx",
    [("", "burst=3 nodelay"), ("1", "burst=3 nodelay")],
    indirect=True,
    ids=["no hint", "Retry-After"],
)
def test_a_limit_that_rises_is_found_again(nginx: Nginx) -> None:
    began, rose, rows = time.time(), None, 0
    with get_engine("remote", model="m", api_url=nginx.url, num_workers=64) as engine:
        for result in engine.run(itertools.repeat(ROW)):
            assert result.ok
            rows += 1
            now = time.time()
            if rose is None and now > began + 15:
                nginx.rise()
                rose = now
            if rose is not None and now > rose + 30:
                break
    assert rose is not None
    answered = [at - rose for at, status in nginx.answers(expected=rows) if status == 200]
    seconds = [sum(second < at <= second + 1 for at in answered) for second in range(30)]
    assert max(sum(two) / 2 for two in itertools.pairwise(seconds)) >= 0.8 * 40
