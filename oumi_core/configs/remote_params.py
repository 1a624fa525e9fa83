"""`RemoteParams`: where a server is and how to treat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from oumi_core.configs.checks import Check, Faults, boolean, integer, number, optional, text
from oumi_core.configs.params import Params, param

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

__all__ = ["RemoteParams"]


def _url_faults(value: Any) -> Faults:
    faults = list(text(secret=True).find(value))
    yield from faults
    if not faults and "@" in value.split("://", 1)[-1].split("/", 1)[0]:
        yield "", "holds a user name or password, which would show in logs; write it in api_key"


@attrs.frozen
class RemoteParams(Params):
    """Where a server is, who asks, how fast, and what follows a failure.

    Where Oumi's document and its code differ, the document's defaults hold (`max_retries` 3). The
    key is in no repr, and is left out of what `InferenceConfig.to_dict` and `to_yaml` write.

    Attributes:
        api_url: the server: a host (`http://localhost:6864`), a base that ends in `/v1`, or a
            full path; without a password. The engine's own if null.
        api_key: the key itself. It wins over `api_key_env_varname`; default none.
        api_key_env_varname: the environment variable that holds the key; the engine's own if null.
        user_id: names the end user to the provider; default none. OpenAI.
        max_retries: how often a failed request is sent again, at least 0; default 3. Waits for a
            rate limit do not count.
        retry_backoff_base: seconds that the first wait before a retry may last, above 0; it
            doubles with each; default 1.
        retry_backoff_max: the most seconds of such a wait, at least `retry_backoff_base`;
            default 30.
        connection_timeout: seconds for one whole request, at least 0; default 300.
        num_workers: requests in flight, at least 1; the engine's own default if null. The
            `num_workers` of the config wins over it.
        requests_per_minute: the most requests started in any minute, at least 1; default: no
            limit. This and the next two count all that this process sends to the same server with
            the same key and model: in other runs and streams too, from when the first run with
            any limit began.
        input_tokens_per_minute: the most prompt tokens in any minute, at least 1; default: no
            limit.
        output_tokens_per_minute: the most answer tokens in any minute, at least 1; default: no
            limit. A request counts for `max_new_tokens` until its answer is there.
        politeness_policy: P seconds, at least 0: after an error a worker waits at least P, and
            at most `num_workers` requests start in any P seconds; default 0, neither.
        batch_completion_window: the time in which a provider's batch must end; default `24h`.
        batch_enqueued_tokens: the most prompt tokens of a batch that may wait at the provider at
            once, at least 1; default: the engine's own, if it knows one. They are estimated, at
            four bytes each.
        use_adaptive_concurrency: find how many requests at once and a second the server bears,
            from its answers; default true.
        retry_policy: what decides what follows a failure: `standard` (the default), `none`, or
            a plugin's name.
        row_deadline: the most seconds for one row from when it was first sent, retries and waits
            included, above 0; then it is cut, and fails as timed out. Default 3600; no limit if
            null. A stream has to begin in that time.

    Raises:
        ConfigError: lists every fault.
    """

    api_url: str | None = param(
        optional(Check(_url_faults, {"type": "string", "minLength": 1}, takes_text=True)), None
    )
    api_key: str | None = param(optional(text(secret=True)), None, hidden=True)
    api_key_env_varname: str | None = param(optional(text(secret=True)), None)
    user_id: str | None = param(optional(text()), None)
    max_retries: int = param(integer(0), 3)
    retry_backoff_base: float = param(number(above=0), 1.0)
    retry_backoff_max: float = param(number(above=0), 30.0)
    connection_timeout: float = param(number(0), 300.0)
    num_workers: int | None = param(optional(integer(1)), None)
    requests_per_minute: int | None = param(optional(integer(1)), None)
    input_tokens_per_minute: int | None = param(optional(integer(1)), None)
    output_tokens_per_minute: int | None = param(optional(integer(1)), None)
    politeness_policy: float = param(number(0), 0.0)
    batch_completion_window: str = param(text(), "24h")
    batch_enqueued_tokens: int | None = param(optional(integer(1)), None)
    use_adaptive_concurrency: bool = param(boolean(), default=True)
    retry_policy: str = param(text(), "standard")
    row_deadline: float | None = param(optional(number(above=0)), 3600.0)

    def _relations(self, broken: AbstractSet[str]) -> Iterator[str]:
        waits = {"retry_backoff_base", "retry_backoff_max"}
        if not broken & waits and self.retry_backoff_max < self.retry_backoff_base:
            yield (
                f"retry_backoff_max: must be at least retry_backoff_base "
                f"({self.retry_backoff_base}), is {self.retry_backoff_max}"
            )
