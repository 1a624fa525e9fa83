"""Says of each line of its input, a schema and a value, whether vLLM's grammar takes the value.

A process of its own: it imports torch, and its libraries warn of each other.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import xgrammar
from vllm.v1.structured_output.backend_xgrammar import has_xgrammar_unsupported_json_features

ASCII = [bytes([code]) for code in range(1, 127)]
COMPILER = xgrammar.GrammarCompiler(
    xgrammar.TokenizerInfo(
        [*ASCII, b"<end>"], vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(ASCII)]
    )
)


def verdict(schema: dict[str, Any], value: Any) -> str:
    """`another backend`, `refuses the schema`, `takes` or `does not take`."""
    if has_xgrammar_unsupported_json_features(schema):
        return "another backend"
    try:
        compiled = COMPILER.compile_grammar(xgrammar.Grammar.from_json_schema(schema))
    except Exception:  # noqa: BLE001 - its errors have no common root
        return "refuses the schema"
    matcher = xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)
    taken = matcher.accept_string(json.dumps(value)) and matcher.is_terminated()
    return "takes" if taken else "does not take"


for line in sys.stdin:
    sys.stdout.write(verdict(*json.loads(line)) + "\n")
    sys.stdout.flush()
