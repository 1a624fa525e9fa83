"""A body as the bytes that are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from oumi_core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_body"]

_encode = msgspec.json.Encoder().encode


def write_body(body: Mapping[str, Any]) -> bytes:
    """The JSON of a body.

    Raises:
        EngineError: `bad_request`: it holds what JSON cannot, such as half of a surrogate pair.
            What that is is not said: it would quote the prompt.
    """
    try:
        return _encode(body)
    except (TypeError, ValueError, RecursionError) as error:  # ValueError: half a surrogate
        reason = f"the request cannot be written as JSON ({type(error).__name__})"
        raise EngineError.bad_request(reason) from error
