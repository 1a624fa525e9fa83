"""Whom requests are made for, and where: `engine_args` of this engine alone, checked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import attrs
from oumi_core.configs import RemoteParams
from oumi_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from oumi_core.engine import EngineConfig
    from oumi_http.arguments import FindFaults

__all__ = ["OWN_ARGUMENTS", "Account", "Azure", "read_account"]

_WHERE = "engine_args"
_AZURE = ("endpoint", "deployment", "api_version")
_DEPLOYMENT_URL = re.compile(r"(?P<endpoint>https?://[^?#]+)/openai/deployments/(?P<name>[^/?#]+)")


@attrs.frozen
class Azure:
    """A deployment on Azure OpenAI.

    Attributes:
        endpoint: the resource, such as `https://acme.openai.azure.com`.
        deployment: the name of the deployment.
        api_version: the version of the API, such as `2024-10-21`.
    """

    endpoint: str
    deployment: str
    api_version: str

    @property
    def chat_url(self) -> str:
        """Where chat completions are asked for."""
        deployment, version = quote(self.deployment, safe=""), quote(self.api_version, safe="")
        return (
            f"{self.endpoint}/openai/deployments/{deployment}/chat/completions"
            f"?api-version={version}"
        )


@attrs.frozen
class Account:
    """Whom requests are made for.

    Attributes:
        organization: the organisation that pays; by default that of the key.
        project: the project of the organisation; by default that of the key.
        base_model: the model behind a deployment or an alias, for the rules of reasoning models;
            by default the model's own name.
        azure: the deployment, on Azure; None at OpenAI.
        base_url: where the API is, where the config does not say; by default at OpenAI.
    """

    organization: str | None = None
    project: str | None = None
    base_model: str | None = None
    azure: Azure | None = None
    base_url: str | None = None

    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        return {name: value for name, value in named.items() if value is not None}

    def applied_to(self, config: EngineConfig) -> EngineConfig:
        """The config for a `ChatCompletionsEngine`, which knows nothing of accounts."""
        remote = config.remote_params or RemoteParams()
        if self.azure is None:
            if remote.api_url is not None or self.base_url is None:
                return config
            return attrs.evolve(config, remote_params=attrs.evolve(remote, api_url=self.base_url))
        remote = attrs.evolve(remote, api_url=self.azure.chat_url)
        if remote.api_key is None and remote.api_key_env_varname is None:
            remote = attrs.evolve(remote, api_key_env_varname="AZURE_OPENAI_API_KEY")
        arguments = dict(config.engine_args)
        quirks = arguments.get("quirks") or {}
        if isinstance(quirks, dict):  # anything else is refused by who reads it
            arguments["quirks"] = {"api_key_header": "api-key", **quirks}
        return attrs.evolve(config, remote_params=remote, engine_args=arguments)


def read_account(config: EngineConfig, environ: Mapping[str, str]) -> Account:
    """Whom an engine's requests are made for.

    What `engine_args` does not say is taken from the variables that the official SDK reads:
    `OPENAI_ORG_ID`, `OPENAI_PROJECT_ID`, `OPENAI_BASE_URL`, and on Azure `AZURE_OPENAI_ENDPOINT`
    and `OPENAI_API_VERSION`.

    Raises:
        ConfigError: lists every value that cannot be, or is missing.
    """
    given = config.engine_args
    faults = [
        f"{_WHERE}.{name}{fault}"
        for name, find in OWN_ARGUMENTS.items()
        if given.get(name) is not None
        for fault in find(given[name])
    ]
    if faults:
        raise ConfigError(*faults)
    return Account(
        given.get("organization") or environ.get("OPENAI_ORG_ID") or None,
        given.get("project") or environ.get("OPENAI_PROJECT_ID") or None,
        given.get("base_model"),
        _read_azure(config, environ),
        environ.get("OPENAI_BASE_URL") or None,
    )


def _is_line(value: Any) -> bool:
    return (
        isinstance(value, str) and bool(value.strip()) and value.isascii() and value.isprintable()
    )


def _line_faults(value: Any) -> Iterator[str]:
    if not _is_line(value):
        yield ": must be a text of one line that is not empty"


def _azure_faults(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f": must be a table with {', '.join(_AZURE)}"


OWN_ARGUMENTS: Mapping[str, FindFaults] = {
    "organization": _line_faults,
    "project": _line_faults,
    "base_model": _line_faults,
    "azure": _azure_faults,
}
"""What `engine_args` of this engine may hold beside those of all, and what finds their faults."""


def _read_azure(config: EngineConfig, environ: Mapping[str, str]) -> Azure | None:
    url = (config.remote_params.api_url if config.remote_params else None) or ""
    from_url = _DEPLOYMENT_URL.match(url)
    table = config.engine_args.get("azure")
    if table is None and from_url is None:
        return None
    table = {} if table is None else table
    faults = [
        f"{_WHERE}.azure.{name}: unknown; there are {', '.join(_AZURE)}"
        for name in table
        if name not in _AZURE
    ]
    found: dict[str, Any] = {
        "endpoint": from_url["endpoint"] if from_url else url or environ.get(_ENDPOINT),
        "deployment": from_url["name"] if from_url else config.model.model_name,
        "api_version": _version_in(url) or environ.get(_VERSION),
        **{name: value for name, value in table.items() if value is not None},
    }
    missing = {
        "endpoint": f"give it, remote_params.api_url or {_ENDPOINT}",
        "api_version": f"give it, such as 2024-10-21, or {_VERSION}",
        "deployment": "give the name of the deployment",
    }
    faults += [
        f"{_WHERE}.azure.{name}: missing, or no text of one line; {what}"
        for name, what in missing.items()
        if not _is_line(found[name])
    ]
    if faults:
        raise ConfigError(*faults)
    endpoint = found["endpoint"].partition("?")[0].rstrip("/").removesuffix("/openai")
    return Azure(endpoint, found["deployment"], found["api_version"])


_ENDPOINT, _VERSION = "AZURE_OPENAI_ENDPOINT", "OPENAI_API_VERSION"


def _version_in(url: str) -> str | None:
    return next(iter(parse_qs(urlsplit(url).query).get("api-version", [])), None)
