"""What came back over HTTP as a completion, or as the one error that says why not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs
from oumi_core.errors import DataError, EngineError
from oumi_core.types.failure import Failure, FailureKind
from oumi_core.wire import (
    decode_common,
    decode_completion,
    decode_json,
    failure_from_error,
    masked,
)

from oumi_http.hints import request_id, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from oumi_core.types.completion import Completion

__all__ = ["Answer", "json_of", "model_names", "read_completion", "refusal", "with_request_id"]

_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_PAGE = re.compile(rb"\s*(<!doctype|<html|<head|<\?xml)", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_SHOWN = 100


class Answer(NamedTuple):
    """An answer whose body is read. A tuple, since one is made for each request.

    Attributes:
        status: the HTTP status.
        headers: by name in any case.
        body: the body, decompressed.
        server: who answered: scheme, host and port.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    server: str


def read_completion(answer: Answer) -> Completion:
    """The completion that an answer holds.

    Raises:
        EngineError: it holds an error, or nothing that can be read.
    """
    found = request_id(answer.headers)
    if answer.status in _OK:
        completion = decode_common(answer.body, request_id=found)
        if completion is not None:
            return completion
    data = json_of(answer)
    try:
        return decode_completion(data, request_id=found)
    except EngineError as error:
        raise with_request_id(error, found) from None


def json_of(answer: Answer) -> Any:
    """The decoded body of a good answer. Its `Content-Type` does not matter: many are wrong.

    Raises:
        EngineError: it is an error, a redirect, a web page, or broken JSON.
    """
    if answer.status not in _OK:
        raise EngineError(refusal(answer))
    try:
        return decode_json(answer.body)
    except DataError as error:
        if _PAGE.match(answer.body):
            raise EngineError(_web_page(answer)) from None
        what = str(error) if answer.body else "it is empty"
        raise EngineError(
            Failure(
                FailureKind.TRANSIENT,
                f"malformed answer of {answer.server}: {what}",
                status=answer.status,
                request_id=request_id(answer.headers),
            )
        ) from error


def refusal(answer: Answer) -> Failure:
    """What an answer that is not 2xx means."""
    if answer.status in _REDIRECTS:
        return _redirect(answer)
    try:
        body = decode_json(answer.body)
    except DataError:
        body = answer.body
    return failure_from_error(
        answer.status,
        body,
        retry_after=retry_after(answer.headers, datetime.now(UTC)),
        request_id=request_id(answer.headers),
    )


def model_names(data: Any) -> list[str] | None:
    """The names in a list of models, sorted, in OpenAI's or Ollama's form; None if it is none."""
    if isinstance(data, dict):
        data = data.get("data", data.get("models"))
    if not isinstance(data, list):
        return None
    found = (one.get("id") or one.get("name") for one in data if isinstance(one, dict))
    return sorted(name for name in found if isinstance(name, str))


def with_request_id(error: EngineError, found: str | None) -> EngineError:
    """The error with the server's id of the request, unless it has one."""
    if found is None or error.failure.request_id is not None:
        return error
    return EngineError(attrs.evolve(error.failure, request_id=found))


def _redirect(answer: Answer) -> Failure:
    # Only where it leads to is shown, without the query: that may hold a token.
    place = masked(answer.headers.get("location", "").partition("?")[0]) or "nowhere"
    return Failure(
        FailureKind.NOT_FOUND,
        f"{answer.server} sends requests on to {place[:_SHOWN]}; redirects are not followed, "
        "since the key would go along: set remote_params.api_url to where the API is",
        status=answer.status,
        request_id=request_id(answer.headers),
    )


def _web_page(answer: Answer) -> Failure:
    title = _TITLE.search(answer.body)
    text = " ".join(title[1].decode(errors="replace").split())[:_SHOWN] if title else ""
    named = f" titled {masked(text)!r}" if text else ""
    return Failure(
        FailureKind.TRANSIENT,
        f"{answer.server} answered with a web page{named} in place of JSON: a proxy or a login "
        "stands in between, or remote_params.api_url is not the address of an API",
        status=answer.status,
        request_id=request_id(answer.headers),
    )
