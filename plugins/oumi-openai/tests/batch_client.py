"""A user's program: sends a batch, or goes on with the one it sent, and prints the results.

    python batch_client.py URL ID_FILE ROWS SEED

Prints for each row its question and its answer, or the kind of its failure, as a line of JSON. The
rows are asked for in the order of the submission, or shuffled by SEED if that is not 0.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import oumi_core as oumi
from oumi_core.types.conversation import Conversation, Message, Role


def main(url: str, id_file: Path, rows: int, seed: int) -> None:
    conversations = [Conversation([Message(Role.USER, f"row {row}")]) for row in range(rows)]
    with oumi.get_engine("openai", model="gpt-4o-mini", api_url=url, api_key="sk-test") as engine:
        if not id_file.exists():
            id_file.write_text(engine.infer_batch(conversations))
        batch_id = id_file.read_text()
        if seed:
            random.Random(seed).shuffle(conversations)  # noqa: S311 - no secret
        while not engine.get_batch_status(batch_id).is_terminal:
            time.sleep(0.2)
        found = engine.get_batch_results_partial(batch_id, conversations)
    for result in found.results:
        answer = result.text if result.error is None else result.error.kind.value
        line = json.dumps([result.conversation.messages[0].content, answer])
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
