"""Keys, quirks and arguments: what is taken, and how a fault is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from oumi_core.configs import RemoteParams
from oumi_core.errors import ConfigError
from oumi_core.wire import OPENAI

from oumi_http.arguments import read_arguments
from oumi_http.keys import auth_headers, find_key
from oumi_http.quirks import read_quirks

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"OWN": "sk-own", "USERS": " sk-users\n", "EMPTY": ""}


@pytest.mark.parametrize(
    ("params", "variable", "key"),
    [
        (RemoteParams(api_key="sk-given", api_key_env_varname="USERS"), "OWN", "sk-given"),
        (RemoteParams(api_key_env_varname="USERS"), "OWN", "sk-users"),
        (RemoteParams(), "OWN", "sk-own"),
        (RemoteParams(), None, None),
    ],
)
def test_the_key_comes_from_the_nearest_place(
    params: RemoteParams, variable: str | None, key: str | None
) -> None:
    assert find_key(params, ENVIRON, variable=variable) == key


@pytest.mark.parametrize(
    ("params", "variable"),
    [
        (RemoteParams(), "MISSING"),
        (RemoteParams(api_key_env_varname="MISSING"), "OWN"),
    ],
)
def test_a_missing_key_is_an_error_that_names_its_variable(
    params: RemoteParams, variable: str
) -> None:
    with pytest.raises(ConfigError, match="MISSING is not set"):
        find_key(params, ENVIRON, variable=variable)


def test_a_key_that_is_not_required_may_be_missing() -> None:
    assert find_key(RemoteParams(), ENVIRON, variable="EMPTY", required=False) is None
    with pytest.raises(ConfigError, match="EMPTY"):  # named by the user: it must be there
        find_key(RemoteParams(api_key_env_varname="EMPTY"), ENVIRON, required=False)


@pytest.mark.parametrize("key", ["sk-a\r\nX-Evil: 1", "sk-ключ", "   "])
def test_a_key_that_cannot_stand_in_a_header_is_refused_unquoted(key: str) -> None:
    with pytest.raises(ConfigError, match="api_key") as caught:
        find_key(RemoteParams(api_key=key), {})
    assert key.strip()[:4] not in str(caught.value) or not key.strip()


def test_a_key_stands_bare_in_a_header_of_its_own() -> None:
    assert auth_headers("k") == {"Authorization": "Bearer k"}
    assert auth_headers("k", "api-key") == {"api-key": "k"}
    assert auth_headers(None) == {}


def test_quirks_change_the_dialect() -> None:
    quirks = read_quirks(
        {
            "max_tokens_field": "max_tokens",
            "reasoning_field": "reasoning",
            "merge_turns": True,
            "unsupported": ["seed"],
        },
        "quirks",
    )
    dialect = quirks.applied_to(OPENAI)
    assert (dialect.token_limit, dialect.reasoning, dialect.merge_turns) == (
        "max_tokens",
        "reasoning",
        True,
    )
    assert set(OPENAI.generation) - set(dialect.generation) == {"seed"}
    assert read_quirks({}, "quirks").applied_to(OPENAI) == OPENAI


def test_every_fault_of_the_quirks_is_told_at_once() -> None:
    given = {
        "max_token_field": "x",
        "max_tokens_field": 3,
        "headers": {"Authorization": "sk-hidden", "X Y": "a", "X-A": "two\nlines"},
        "merge_turns": "yes",
        "chat_path": "chat",
        "unsupported": ["sed", 3],
        "api_key_header": "a b",
        "extra_body": [],
    }
    with pytest.raises(ConfigError) as caught:
        read_quirks(given, "provider acme: quirks")
    assert caught.value.faults == (
        "provider acme: quirks.max_token_field: unknown; did you mean max_tokens_field?",
        "provider acme: quirks.max_tokens_field: must be a text that is not empty",
        (
            "provider acme: quirks.headers.Authorization: is set by the engine; "
            "a key goes into remote_params.api_key"
        ),
        "provider acme: quirks.headers: 'X Y' is no name of a header",
        "provider acme: quirks.headers.X-A: must be a text of one line",
        "provider acme: quirks.merge_turns: must be true or false",
        "provider acme: quirks.chat_path: must be a path that starts with '/', without a query",
        "provider acme: quirks.unsupported: 'sed' is no field of generation; did you mean seed?",
        "provider acme: quirks.unsupported: 3 is no field of generation",
        "provider acme: quirks.api_key_header: must be the name of a header",
        "provider acme: quirks.extra_body: must be a table",
    )


def test_lists_and_tables_must_be_such() -> None:
    with pytest.raises(ConfigError, match="unsupported: must be a list"):
        read_quirks({"unsupported": "seed"}, "quirks")
    with pytest.raises(ConfigError, match="headers: must be a table"):
        read_quirks({"headers": "X: y"}, "quirks")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"verfy": True}, "engine_args.verfy: unknown; did you mean verify?"),
        ({"zzz": 1}, "engine_args.zzz: unknown; there are verify"),
        ({"verify": "ca.pem"}, "goes into ca_file"),
        ({"ca_file": "/nowhere.pem"}, "engine_args.ca_file: must be the path of a file"),
        ({"client_key": __file__}, "needs client_cert"),
        ({"allowed_media_path": "/nowhere"}, "must be the path of a folder"),
        ({"http_client": object()}, "httpx.AsyncClient"),
        ({"headers": {"Host": "x"}}, "engine_args.headers.Host: is set by the engine"),
        ({"headers": {"Transfer-encoding": "chunked"}}, "Transfer-encoding: is set by the engine"),
        ({"quirks": []}, "engine_args.quirks: must be a table"),
    ],
)
def test_a_fault_of_an_argument_says_what_it_takes(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_arguments(given)
    assert fault in str(caught.value)


def test_files_that_hold_no_certificates_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.write_text("nothing")
    for name in ("ca_file", "client_cert"):
        with pytest.raises(ConfigError, match=f"engine_args.{name}: cannot be used"):
            read_arguments({name: str(file)}).tls()


def test_arguments_that_are_null_are_left_out() -> None:
    assert read_arguments({"ca_file": None}) == read_arguments({})
