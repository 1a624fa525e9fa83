"""Which images rows may name, and the form in which vLLM reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from oumi_core.errors import EngineError
from oumi_core.types.conversation import ContentType, Conversation

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from oumi_core.types.conversation import ContentItem

__all__ = ["ImageSources"]


@attrs.frozen
class ImageSources:
    """Where images that rows name may come from; those whose bytes a row holds always may.

    Attributes:
        folder: out of which files may be read; None for none.
        hosts: from which URLs may be fetched.
    """

    folder: Path | None = None
    hosts: Collection[str] = ()

    def resolve(self, conversation: Conversation) -> Conversation:
        """A copy in which paths of images are URLs, which vLLM reads.

        vLLM makes sure that a file is in the folder, and a URL's host one of `hosts`.

        Raises:
            EngineError: an image may not be had; `bad_request`.
        """
        messages = [
            message
            if not isinstance(message.content, list)
            else attrs.evolve(message, content=[self._resolved(item) for item in message.content])
            for message in conversation.messages
        ]
        return Conversation(messages, tools=conversation.tools)

    def _resolved(self, item: ContentItem) -> ContentItem:
        if item.binary or item.content is None or item.type is ContentType.TEXT:
            return item
        if item.type is ContentType.IMAGE_PATH:
            folder = self._readable()
            path = (folder.absolute() / item.content.removeprefix("file://")).resolve()
            return attrs.evolve(item, type=ContentType.IMAGE_URL, content=path.as_uri())
        scheme = item.content.partition(":")[0].lower()
        if scheme == "file":
            self._readable()
        elif scheme != "data" and not self.hosts:  # vLLM would then fetch whatever a row names
            raise EngineError.bad_request(
                "the row names an image by its URL, and none may be fetched: set "
                "engine_args.allowed_media_domains to a list of the images' hosts"
            )
        return item

    def _readable(self) -> Path:
        if self.folder is None:
            raise EngineError.bad_request(
                "the row names an image by its path, and none may be read: set "
                "engine_args.allowed_local_media_path to the folder of the images"
            )
        return self.folder
