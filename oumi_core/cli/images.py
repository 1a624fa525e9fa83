"""Images that are given on the command line or in a chat, by path or URL."""

from __future__ import annotations

from pathlib import Path

from oumi_core.errors import DataError, EngineError
from oumi_core.types.conversation import ContentItem, ContentType, Message, Role

__all__ = ["image_item", "user_message"]

_URLS = ("http://", "https://", "data:")


def image_item(place: str) -> ContentItem:
    """The image at a path, its bytes read; a URL stays a URL.

    Raises:
        DataError: there is no such file, or it is no image.
    """
    if place.startswith(_URLS):
        return ContentItem(ContentType.IMAGE_URL, place)
    path = Path(place).expanduser()
    try:
        binary = path.read_bytes()
    except OSError as error:
        raise DataError(f"{place}: the image cannot be read: {error.strerror}") from error
    if binary.startswith(b"%PDF"):
        raise DataError(
            f"{place}: is a PDF; convert its pages to images first "
            "(pdftoppm -png -r 200 does it) and give each with --image"
        )
    from oumi_core.wire.images import data_url  # noqa: PLC0415 - import on use: chats of text

    try:
        data_url(binary)  # knows what is an image
    except EngineError as error:
        raise DataError(f"{place}: {error.failure.message}") from error
    return ContentItem(ContentType.IMAGE_BINARY, binary=binary)


def user_message(text: str, images: list[ContentItem]) -> Message:
    """What the user says, the images before the text."""
    if not images:
        return Message(Role.USER, text)
    return Message(Role.USER, [*images, ContentItem(ContentType.TEXT, text)])
