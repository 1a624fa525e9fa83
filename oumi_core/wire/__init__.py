"""The chat-completions format, pure: data in, data out, no socket, file or clock.

    Request -> body          encode_chat, ChatEncoder, Dialect
    body -> Completion       decode_common, else decode_completion
    error body -> Failure    failure_from_error
    stream -> Completion     SSEParser, StreamAssembler
    body -> bytes            write_body
    bytes -> body            decode_json
    batch lines              encode_batch_line, decode_batch_line

Every engine that speaks the format shares it: servers over HTTP, llama.cpp and vLLM in this
process, and the files of batches. What a server does otherwise is data, in its `Dialect`.
"""

from oumi_core.types.reading import decode_json
from oumi_core.wire.batch import BatchLine, decode_batch_line, encode_batch_line
from oumi_core.wire.body import write_body
from oumi_core.wire.common import decode_common
from oumi_core.wire.decode import decode_completion
from oumi_core.wire.dialect import OPENAI, Dialect, response_format
from oumi_core.wire.encode import ChatEncoder, encode_chat
from oumi_core.wire.failures import failure_from_error, masked
from oumi_core.wire.sse import SSEParser
from oumi_core.wire.stream import StreamAssembler

__all__ = [
    "OPENAI",
    "BatchLine",
    "ChatEncoder",
    "Dialect",
    "SSEParser",
    "StreamAssembler",
    "decode_batch_line",
    "decode_common",
    "decode_completion",
    "decode_json",
    "encode_batch_line",
    "encode_chat",
    "failure_from_error",
    "masked",
    "response_format",
    "write_body",
]
