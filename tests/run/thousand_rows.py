"""A run of a thousand rows, to be killed: thousand_rows.py OUTPUT LOG [WORKERS].

It prints the index of each row as the run hands it out, and writes the name of each row into LOG
when it is sent.
"""

from __future__ import annotations

import asyncio
import os
import sys

from oumi_core import RunStopped, get_engine
from oumi_core.engine import Engine, Request
from oumi_core.exit_codes import exit_code_of
from oumi_core.types import Completion, Conversation, Message

ROWS = 1000
WORKERS = 16


class Logged(Engine):
    """Says what it was asked, and that it was."""

    async def complete(self, request: Request) -> Completion:
        os.write(log, f"{request.row_id}\n".encode())
        await asyncio.sleep(0.002)
        return Completion(Message("assistant", f"re {request.conversation[0].text}"))


if __name__ == "__main__":
    log = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    workers = int(sys.argv[3]) if len(sys.argv) > 3 else WORKERS
    rows = [Conversation([Message("user", f"row {n}")], str(n)) for n in range(ROWS)]
    with get_engine(Logged, model="m", num_workers=workers) as engine:
        try:
            for result in engine.run(rows, output_path=sys.argv[1]):
                sys.stdout.write(f"{result.index}\n")
                sys.stdout.flush()
        except RunStopped as error:
            sys.stderr.write(f"{error}\n")
            sys.exit(exit_code_of(error))
