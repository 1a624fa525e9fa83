"""Images that a conversation names by their path: loaded, if the config allows their folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from oumi_core.errors import EngineError
from oumi_core.types.conversation import ContentItem, ContentType, Conversation

if TYPE_CHECKING:
    from pathlib import Path

    from oumi_core.types.conversation import Message

__all__ = ["names_files", "with_images"]


def names_files(conversation: Conversation) -> bool:
    """True if an image of it has still to be loaded."""
    # A loop: every request passes here, and a generator takes 0.3 us to begin.
    for message in conversation.messages:
        if isinstance(message.content, list) and any(map(_is_unloaded, message.content)):
            return True
    return False


def with_images(conversation: Conversation, allowed: Path | None) -> Conversation:
    """A copy with the bytes of all images. Blocks while they are read.

    Args:
        conversation: what the row holds.
        allowed: the one folder that may be read from; symbolic links are followed before that is
            decided. A relative path is one in that folder.

    Raises:
        EngineError: an image lies elsewhere, or cannot be read; `bad_request`.
    """
    if allowed is None:
        raise EngineError.bad_request(
            "the row names an image by its path, and none may be read: set "
            "engine_args.allowed_media_path to the folder of the images"
        )
    messages = [_loaded(message, allowed) for message in conversation.messages]
    return Conversation(messages, conversation.conversation_id, tools=conversation.tools)


def _is_unloaded(item: ContentItem) -> bool:
    return item.type is ContentType.IMAGE_PATH and not item.binary


def _loaded(message: Message, allowed: Path) -> Message:
    if not isinstance(message.content, list):
        return message
    items = [
        attrs.evolve(item, binary=_read(item.content or "", allowed))
        if _is_unloaded(item)
        else item
        for item in message.content
    ]
    return attrs.evolve(message, content=items)


def _read(place: str, allowed: Path) -> bytes:
    root = allowed.resolve()
    try:
        path = (root / place.removeprefix("file://")).resolve()
        if not path.is_relative_to(root):
            raise EngineError.bad_request(
                "the row names an image outside of engine_args.allowed_media_path; "
                "move it there, or allow its folder"
            )
        if not path.is_file():
            raise EngineError.bad_request(f"the image {path.name} is not there, or is no file")
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or "is no path"
        raise EngineError.bad_request(f"the image cannot be read: {reason}") from error
