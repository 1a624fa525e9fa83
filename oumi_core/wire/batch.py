"""The lines of batch files: requests on the way in, answers and errors on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.errors import DataError, EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.types.reading import decode_json
from oumi_core.wire.body import write_body
from oumi_core.wire.decode import decode_completion, malformed
from oumi_core.wire.failures import failure_from_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.types.completion import Completion

__all__ = ["BatchLine", "decode_batch_line", "encode_batch_line"]

_OK = 200

_LINE_ENDS = {b"\xc2\x85": rb"\u0085", b"\xe2\x80\xa8": rb"\u2028", b"\xe2\x80\xa9": rb"\u2029"}
"""Characters that JSON need not escape and that some servers (llmock) take for the end of a line,
as Python's `str.splitlines` does: a prompt that holds one would be cut in two."""
_C2, _E2 = 0xC2, 0xE2
"""What they start with. To look for one of these costs a twentieth of looking for them."""


@attrs.frozen
class BatchLine:
    """One line of an output or error file: an answer or a failure, never both, never neither.

    Attributes:
        custom_id: the row that it belongs to, as it was given to `encode_batch_line`; None if the
            line does not say (it is torn, or not of this format). The order of lines says nothing.
        completion: the answer.
        failure: why there is none.
    """

    custom_id: str | None
    completion: Completion | None = None
    failure: Failure | None = None


def encode_batch_line(
    custom_id: str, body: Mapping[str, Any], url: str = "/v1/chat/completions"
) -> bytes:
    r"""One request as a line of an input file, its `\n` included, and whole for every reader.

    Args:
        custom_id: names the row; unique in its batch.
        body: what `encode_chat` gives, without `stream`.
        url: the path of the endpoint, the same for a whole batch.

    Raises:
        EngineError: the body holds what JSON cannot; see `write_body`.
    """
    line = {"custom_id": custom_id, "method": "POST", "url": url, "body": body}
    text = write_body(line) + b"\n"
    if _E2 in text or _C2 in text:
        for end, escaped in _LINE_ENDS.items():
            text = text.replace(end, escaped)
    return text


def decode_batch_line(line: bytes | str) -> BatchLine:
    """Read a line of an output or error file; never raises, whatever the line is.

    A refused request is one with a status other than 200, in either file. An error without a
    status says why there was no request at all: the window closed (`expired`), the batch was
    canceled (`canceled`), or as the code says. A row with neither is `missing`.
    """
    try:
        data = decode_json(line)
    except DataError as error:
        return BatchLine(None, failure=_unreadable(str(error)))
    if not isinstance(data, dict):
        return BatchLine(None, failure=_unreadable(f"no object but {type(data).__name__}"))
    custom_id = data.get("custom_id")
    custom_id = custom_id if isinstance(custom_id, str) else None
    try:
        return BatchLine(custom_id, _completion(data.get("response"), data.get("error")))
    except EngineError as error:
        return BatchLine(custom_id, failure=error.failure)


def _completion(response: Any, error: Any) -> Completion:
    status = body = request_id = None
    if isinstance(response, dict):
        status, body = response.get("status_code"), response.get("body")
        request_id = response.get("request_id")
    status = status if type(status) is int else None
    request_id = request_id if isinstance(request_id, str) and request_id else None
    if status == _OK and not error:
        return decode_completion(body, request_id=request_id)
    if response is None and not error:
        raise EngineError(
            Failure(FailureKind.MISSING, "the batch holds neither an answer nor an error for it")
        )
    if status is None and not error:
        raise malformed("response.status_code: expected a number")
    # A refusal's body says more than the line's `error`, where there are both (vLLM's run-batch).
    reason = body if body and status != _OK else {"error": error}
    raise EngineError(failure_from_error(status, reason, request_id=request_id))


def _unreadable(why: str) -> Failure:
    return Failure(FailureKind.TRANSIENT, f"a line of the batch's file cannot be read: {why}")
