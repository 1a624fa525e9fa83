"""The parts of a message: texts and images."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from oumi_core.errors import DataError
from oumi_core.types.reading import as_mapping, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ContentItem", "ContentItemCounts", "ContentType"]


class ContentType(StrEnum):
    """What a content item holds."""

    TEXT = "text"
    IMAGE_PATH = "image_path"
    IMAGE_URL = "image_url"
    IMAGE_BINARY = "image_binary"


class ContentItemCounts(NamedTuple):
    """How many items a message has, by what they hold."""

    total_items: int
    text_items: int
    image_items: int


_ITEM_TYPES: dict[Any, ContentType] = {kind.value: kind for kind in ContentType}


def _item_type(value: Any) -> ContentType:
    try:
        return _ITEM_TYPES[value]
    except (KeyError, TypeError):
        raise DataError(f"type: {shown(value)} is not one of {', '.join(_ITEM_TYPES)}") from None


@attrs.frozen(repr=False)
class ContentItem:
    """A part of a message: a text, or an image by path, URL or bytes.

    Attributes:
        type: what it holds; a `ContentType` or its text.
        content: the text, path or URL (`data:` URLs too); None where there are only bytes.
        binary: the image file's bytes as they are on disk; None if they are not loaded. An image
            given by path or URL may have them too.
        extra: fields of the source that have no place here, kept for the way back.

    Raises:
        DataError: `content` or `binary` is missing, or is there where the type has none.
    """

    type: ContentType = attrs.field(converter=_item_type)
    content: str | None = None
    binary: bytes | None = None
    extra: dict[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        kind = self.type
        if not isinstance(self.content, str | None):
            raise DataError(f"content: expected a text, got {type(self.content).__name__}")
        if not isinstance(self.binary, bytes | None):
            raise DataError(f"binary: expected bytes, got {type(self.binary).__name__}")
        if kind is ContentType.TEXT:
            if self.content is None:
                raise DataError("content: an item of type text needs a text")
            if self.binary:
                raise DataError("binary: an item of type text has no bytes")
        elif kind is ContentType.IMAGE_BINARY:
            if not self.binary:
                raise DataError("binary: an item of type image_binary needs the image's bytes")
        elif not self.content:
            raise DataError(f"content: an item of type {kind.value} needs the image's place")

    def is_image(self) -> bool:
        """True for an image, however it is given."""
        return self.type is not ContentType.TEXT

    def is_text(self) -> bool:
        """True for a text."""
        return self.type is ContentType.TEXT

    def __repr__(self) -> str:
        size = len(self.binary or self.content or "")
        return f"ContentItem(type={self.type.value!r}, <{size}>)"

    def to_dict(self) -> dict[str, Any]:
        """The item in Oumi's format; bytes as base64 text."""
        data: dict[str, Any] = {"type": self.type.value}
        if self.content is not None:
            data["content"] = self.content
        if self.binary:
            data["binary"] = base64.b64encode(self.binary).decode()
        return {**data, **self.extra}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any] | ContentItem) -> ContentItem:
        """Read Oumi's format (`content`) or the chat-completions one (`text`, `image_url`).

        Args:
            data: the item; one that is a `ContentItem` already is returned as it is.

        Raises:
            DataError: it is neither.
        """
        if isinstance(data, ContentItem):
            return data
        rest = as_mapping(data, "a type")
        kind = _item_type(rest.pop("type", None))
        content, binary = rest.pop("content", None), rest.pop("binary", None)
        if content is None and kind is ContentType.TEXT:
            content = rest.pop("text", None)
        if content is None and kind is ContentType.IMAGE_URL:
            content, rest = _openai_image_url(rest)
        return cls(kind, content, _bytes(binary), rest)


def _bytes(value: Any) -> Any:
    """Bytes from base64 text, None from an empty one (as Oumi writes it); else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True) or None
    except ValueError as error:
        raise DataError(f"binary: not base64 ({error})") from error


def _openai_image_url(rest: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Split `{"image_url": {"url": ..., "detail": ...}}` into the URL and what else there is.

    The fields beside the URL move up to the item's own, but for those that would replace one.
    """
    value = rest.pop("image_url", None)
    if not isinstance(value, dict):
        return value, rest
    taken = rest.keys() | {"type", "content", "binary"}
    moved = {key: item for key, item in value.items() if key != "url" and key not in taken}
    kept = {key: item for key, item in value.items() if key in taken}
    nested = {"image_url": kept} if kept else {}
    return value.get("url"), {**rest, **moved, **nested}
