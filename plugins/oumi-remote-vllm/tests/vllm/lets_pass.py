"""Says of each case of a file whether vLLM's grammar for the schema takes the wrong value.

A process of its own: it imports torch, and its libraries warn of each other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import xgrammar
from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

ASCII = [bytes([code]) for code in range(1, 127)]


def verdict(schema: dict[str, Any], wrong: Any) -> str:
    if has_xgrammar_unsupported_json_features(schema):
        return "another backend"
    tokens = xgrammar.TokenizerInfo(
        [*ASCII, b"<end>"], vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(ASCII)]
    )
    grammar = xgrammar.Grammar.from_json_schema(schema)
    compiled = xgrammar.GrammarCompiler(tokens).compile_grammar(grammar)
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
    taken = matcher.accept_string(json.dumps(wrong)) and matcher.is_terminated()
    return "lets pass" if taken else "holds"


def main(path: str) -> None:
    cases = [json.loads(line) for line in Path(path).read_text().splitlines()]
    verdicts = {case["name"]: verdict(case["schema"], case["wrong"]) for case in cases}
    sys.stdout.write(json.dumps(verdicts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
