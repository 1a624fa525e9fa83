"""Images as data URLs, with the type that their bytes say."""

from __future__ import annotations

import base64

from oumi_core.errors import EngineError
from oumi_core.types.failure import Failure, FailureKind

__all__ = ["data_url"]

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)

# Containers, which say what they hold at byte 8: (where, the mark of the container, what, type).
_CONTAINERS = (
    (0, b"RIFF", b"WEBP", "image/webp"),
    (4, b"ftyp", b"avif", "image/avif"),
    (4, b"ftyp", b"heic", "image/heic"),
)


def data_url(image: bytes) -> str:
    """The image as a `data:` URL.

    Raises:
        EngineError: the bytes are no image of a known type; `bad_request`.
    """
    return f"data:{_mime_type(image)};base64,{base64.b64encode(image).decode()}"


def _mime_type(image: bytes) -> str:
    for signature, mime_type in _SIGNATURES:
        if image.startswith(signature):
            return mime_type
    for start, container, content, mime_type in _CONTAINERS:
        if image.startswith(container, start) and image.startswith(content, 8):
            return mime_type
    known = "PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF, HEIC"
    raise EngineError(
        Failure(
            FailureKind.BAD_REQUEST,
            f"an image of {len(image)} bytes is of no known type ({known}); convert it to one",
        )
    )
