"""Which endpoints each form of a URL means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oumi_core.errors import ConfigError

from oumi_http.urls import endpoints

FULL = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("url", "chat"),
    [
        ("localhost:8000", f"http://localhost:8000{FULL}"),
        ("localhost", f"http://localhost{FULL}"),
        ("gpu-box:8000", f"http://gpu-box:8000{FULL}"),
        ("10.0.0.7:8000", f"http://10.0.0.7:8000{FULL}"),
        ("[::1]:8000", f"http://[::1]:8000{FULL}"),
        ("api.acme.example", f"https://api.acme.example{FULL}"),
        ("api.acme.example/v1", f"https://api.acme.example{FULL}"),
        ("http://localhost:6864", f"http://localhost:6864{FULL}"),
        ("http://localhost:6864/", f"http://localhost:6864{FULL}"),
        ("  http://localhost:6864//  ", f"http://localhost:6864{FULL}"),
        ("https://api.acme.example/v1", f"https://api.acme.example{FULL}"),
        ("https://api.acme.example/v1/", f"https://api.acme.example{FULL}"),
        ("https://api.acme.example//v1//", f"https://api.acme.example{FULL}"),
        (f"https://api.acme.example{FULL}", f"https://api.acme.example{FULL}"),
        (f"https://api.acme.example{FULL}/", f"https://api.acme.example{FULL}"),
        ("https://g.example/openai/v1", "https://g.example/openai/v1/chat/completions"),
        ("https://g.example/api/v1/", "https://g.example/api/v1/chat/completions"),
        ("https://g.example/v1beta/openai/", "https://g.example/v1beta/openai/chat/completions"),
        ("https://g.example/models/m7", "https://g.example/models/m7/chat/completions"),
        (
            "https://a.example/openai/deployments/d?api-version=2024-06-01",
            "https://a.example/openai/deployments/d/chat/completions?api-version=2024-06-01",
        ),
        (
            f"https://a.example{FULL}?api-version=1&x=%2F",
            f"https://a.example{FULL}?api-version=1&x=%2F",
        ),
        ("https://a.example?key=1", f"https://a.example{FULL}?key=1"),
    ],
)
def test_a_url_in_any_form_leads_to_chat_completions(url: str, chat: str) -> None:
    assert endpoints(url).chat == chat


def test_the_list_of_models_stands_beside_it() -> None:
    found = endpoints("https://g.example/openai/v1/chat/completions?api-version=1")
    assert found.models == "https://g.example/openai/v1/models?api-version=1"
    assert found.server == "https://g.example"


def test_a_server_may_have_its_path_elsewhere() -> None:
    found = endpoints("https://p.example", chat_path="/chat/completions")
    assert (found.chat, found.models) == (
        "https://p.example/chat/completions",
        "https://p.example/models",
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "host"),
        ("https://", "host"),
        ("ftp://a.example", "must start with https://"),
        ("https://a.example:port", "is no URL"),
        ("https://[::1", "is no URL"),
        ("https://a b.example", "white space"),
        ("https://a.example/v1\x00/hidden", "no URL may"),
        ("https://a.example/v1?x=\x7f", "no URL may"),
        ("https://a..example/v1", "is no URL"),
        (f"https://{'a' * 64}.example/v1", "is no URL"),
        ("https://b\u00fccher.example/v1", "begins with xn--"),
        ("https://a.example/hidden/b\u00fccher", "the rest with %"),
        ("https://user:hidden@a.example/v1", "user name or password"),
        ("https://a.example/v1#hidden", "'#'"),
        ("https://a.example/v1/completions", "another API"),
        ("https://a.example/v1/responses", "another API"),
        ("https://a.example/v1/models", "another API"),
    ],
)
def test_what_is_no_server_is_refused_without_quoting_it(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match="api_url") as caught:
        endpoints(url)
    assert why in str(caught.value)
    assert "hidden" not in str(caught.value)


SEGMENT = st.text("abcdefgh123-", min_size=1, max_size=8)


@given(
    host=SEGMENT.map(lambda text: f"h{text.strip('-')}.example"),
    path=st.lists(SEGMENT, min_size=1, max_size=4),
    slashes=st.integers(0, 3),
)
def test_a_base_and_its_full_path_mean_the_same(host: str, path: list[str], slashes: int) -> None:
    base = f"https://{host}/{'/'.join(path)}"
    try:
        found = endpoints(base + "/" * slashes)
    except ConfigError:
        assert path[-1] in {"responses", "messages", "models", "chat"}
        return
    assert found.chat == f"{base}/chat/completions"
    assert endpoints(found.chat) == found
