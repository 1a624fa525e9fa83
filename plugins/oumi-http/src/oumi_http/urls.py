"""Where a server's chat completions are, from whatever form of its URL the user has. Pure."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

import attrs
from oumi_core.errors import ConfigError

__all__ = ["Endpoints", "endpoints"]

_CHAT = "/chat/completions"
_OTHER_APIS = ("/completions", "/responses", "/messages", "/embeddings", "/models", "/chat")
"""Ends of paths that are full paths too, of something else."""


@attrs.frozen
class Endpoints:
    """The URLs of one server.

    Attributes:
        chat: where chat completions are asked for, its query included.
        models: where the models are listed.
        server: scheme, host and port: what errors name. It holds no path and no query, which
            may hold secrets.
    """

    chat: str
    models: str
    server: str

    def beside(self, name: str) -> str:
        """The URL of another part of the API, such as `load_lora_adapter`, its query included."""
        base, mark, query = self.models.partition("?")
        return f"{base.removesuffix('models')}{name}{mark}{query}"


def endpoints(
    url: str, *, chat_path: str | None = None, where: str = "remote_params.api_url"
) -> Endpoints:
    """The endpoints that a URL means.

    Args:
        url: one of
            a host, such as `localhost:8000` or `https://api.acme.example`: `/v1` is added;
            a base, such as `https://gateway.example/openai/v1`: any other path stays as it is;
            the full path, such as `https://api.acme.example/v1/chat/completions`.
            Slashes at the end make no difference. A query is kept. Without a scheme it is
            `http` for an address, `localhost` and names without a dot, else `https`.
        chat_path: the path of chat completions on a server that has it elsewhere than at
            `/v1/chat/completions`; used where the URL is a host only.
        where: what an error calls the URL.

    Raises:
        ConfigError: it is no URL of a server, or that of another API. It is not quoted, since it
            may hold a secret.
    """
    parts = _split(url.strip(), where)
    server = f"{parts.scheme}://{parts.netloc}"
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    if not path:
        path = (chat_path or f"/v1{_CHAT}").rstrip("/")
    elif not path.endswith(_CHAT):
        other = next((end for end in _OTHER_APIS if path.endswith(end)), None)
        if other is not None:
            raise ConfigError(
                f"{where}: ends in {other}, which is another API; give the part before it, "
                f"or the path that ends in {_CHAT}"
            )
        path += _CHAT
    query = f"?{parts.query}" if parts.query else ""
    base = path.removesuffix(_CHAT)
    return Endpoints(f"{server}{path}{query}", f"{server}{base}/models{query}", server)


def _split(url: str, where: str) -> SplitResult:
    if "://" not in url:
        url = f"{_scheme_for(url)}://{url}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        (host or "").encode("idna")  # as connecting does, which raises it there
    except ValueError:  # brackets that do not match, a port that is no number, a name like a..b
        raise ConfigError(f"{where}: is no URL") from None
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{where}: must start with https:// or http://, not {parts.scheme}://")
    if not host or re.search(r"[\s\\]", url):
        raise ConfigError(f"{where}: must be a host, or a URL with a host, without white space")
    if not (url.isascii() and url.isprintable()):
        raise ConfigError(
            f"{where}: holds characters that no URL may; write the host in its form that begins "
            "with xn--, and the rest with %"
        )
    if "@" in parts.netloc:
        raise ConfigError(
            f"{where}: holds a user name or password, which would show in logs; "
            "write it in remote_params.api_key"
        )
    if parts.fragment:
        raise ConfigError(f"{where}: has a part after '#', which is never sent; leave it out")
    return parts


def _scheme_for(url: str) -> str:
    host = re.split(r"[/?#]", url, maxsplit=1)[0]
    if host.startswith("["):
        return "http"
    name = host.partition(":")[0]
    if "." not in name:
        return "http"
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "https"
    return "http"
