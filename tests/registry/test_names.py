"""What the registry answers to names, over announcements that a test writes down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oumi_core import hookspecs
from oumi_core.announcements import Announced
from oumi_core.errors import ConfigError, PluginError
from oumi_core.plugin_names import BUILT_IN, ENGINE_ALIASES, ENGINE_REQUIREMENTS, normalise
from oumi_core.providers import Provider
from oumi_core.registry import (
    BATCH_BACKEND,
    ENGINE,
    GUIDED_DECODER,
    KINDS,
    RETRY_POLICY,
    PluginState,
    Registry,
    default_registry,
    find,
    list_plugins,
)

if TYPE_CHECKING:
    from pathlib import Path

ECHO = Announced(ENGINE, "echo", "oumi-core", "1.0", "oumi_core.built_in", "echo")
ACME = Provider("acme", "https://acme.example/v1", source="acme-providers 2.0")
ROW = Announced(ENGINE, "acme", "acme-providers", "2.0", "acme_providers", "rows", provider=ACME)


def registry(*announced: Announced, **environ: str) -> Registry:
    return Registry(scan=lambda: announced, environ=environ)


def refused(asked: Registry, name: str) -> str:
    with pytest.raises(PluginError) as caught:
        asked.find(ENGINE, name)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_hook_of_its_name(kind: object) -> None:
    assert kind.hook in hookspecs.__all__  # type: ignore[attr-defined] # parametrize erases it


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("vllm", "oumi-vllm[cuda]"),
        ("remote-vllm", "oumi-remote-vllm"),
        ("openai", "oumi-openai"),
        ("remote", "oumi-http"),
        ("llamacpp", "oumi-llamacpp"),
    ],
)
def test_a_known_name_without_its_plugin_says_what_to_install(name: str, requirement: str) -> None:
    for spelling in (name, name.upper(), name.replace("-", "_").upper()):
        expected = f"engine '{name}' needs: pip install {requirement}"
        assert refused(registry(ECHO), spelling) == expected


OUMI_NAMES = (
    "NATIVE VLLM REMOTE_VLLM SGLANG LLAMACPP REMOTE OPENAI ANTHROPIC GOOGLE_VERTEX GEMINI "
    "GOOGLE_GEMINI DEEPSEEK CEREBRAS PARASAIL OPENROUTER HUGGING_FACE_ROUTER FIREWORKS TOGETHER "
    "SAMBANOVA BEDROCK"
)


@pytest.mark.parametrize("name", OUMI_NAMES.split())
def test_every_engine_name_of_oumi_is_known(name: str) -> None:
    message = refused(registry(ECHO), name)
    assert (
        "needs: pip install" in message
        or (
            f"no plugin for engine '{normalise(name)}' is known to this version of oumi-core; "
            "installed: echo"
        )
        == message
    )
    assert ENGINE_ALIASES.get(normalise(name), normalise(name)) in ENGINE_REQUIREMENTS


def test_an_alias_of_oumi_finds_the_engine() -> None:
    gemini = Announced(ENGINE, "gemini", "acme", "1", "oumi_core.built_in", "gemini")
    assert "engine 'gemini' of acme 1" in refused(registry(gemini), "GOOGLE_GEMINI")


def test_an_unknown_name_gets_the_nearest_and_what_is_installed() -> None:
    assert refused(registry(ECHO), "ecco") == (
        "there is no engine 'ecco'; did you mean 'echo'?; installed: echo"
    )
    assert refused(registry(ECHO), "vlm") == (
        "there is no engine 'vlm'; did you mean 'vllm' (pip install oumi-vllm[cuda])?; "
        "installed: echo"
    )
    assert refused(registry(), "zzz") == "there is no engine 'zzz'; installed: none"


def test_what_is_installed_but_cannot_be_used_is_listed_apart() -> None:
    broken = Announced(ENGINE, "rows", "acme", "1", "acme", "rows", fault="acme: row 1: no")
    asked = registry(ECHO, ROW, broken, OUMI_DISABLE_PLUGINS="acme-providers")
    assert refused(asked, "zzz") == (
        "there is no engine 'zzz'; installed: echo; disabled: acme; broken: rows"
    )


def test_a_wrong_distribution_gets_the_right_one() -> None:
    assert refused(registry(ECHO), "acme:echo") == (
        "acme offers no engine 'echo'; there is 'oumi-core:echo'; installed: echo"
    )


@pytest.mark.parametrize("name", ["", "  "])
def test_no_name_at_all_lists_what_is_installed(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no engine is named; .*installed: echo"):
        registry(ECHO).find(ENGINE, name)


def test_a_name_of_another_kind_is_not_found() -> None:
    with pytest.raises(PluginError, match="there is no retry policy 'echo'; installed: none"):
        registry(ECHO).find(RETRY_POLICY, "echo")
    assert registry(ECHO).list_plugins(BATCH_BACKEND) == ()


def test_a_provider_without_the_engine_under_it_says_what_to_install() -> None:
    assert refused(registry(ROW), "acme") == (
        "engine 'acme' (a provider from acme-providers) needs: pip install oumi-http"
    )


def test_a_provider_runs_on_the_engine_remote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stand_in_for_http.py").write_text(
        "from oumi_core.hookspecs import hookimpl\n"
        "from oumi_core.engine import Engine\n"
        "class Remote(Engine):\n    async def complete(self, request): ...\n"
        "@hookimpl\ndef oumi_engines():\n    return {'remote': Remote}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    remote = Announced(ENGINE, "remote", "oumi-http", "3.0", "stand_in_for_http", "remote")
    found = registry(ROW, remote).find(ENGINE, "ACME")
    assert found.cls.__name__ == "Remote"
    assert (found.name, found.distribution, found.version) == ("acme", "oumi-http", "3.0")
    assert found.provider == ACME


def test_a_provider_says_why_the_engine_under_it_cannot_be_used() -> None:
    remote = Announced(ENGINE, "remote", "oumi-http", "3.0", "oumi_core.built_in", "remote")
    message = refused(registry(ROW, remote, OUMI_DISABLE_PLUGINS="oumi-http"), "acme")
    assert message == (
        "engine 'acme' (a provider from acme-providers) runs on 'remote': "
        "engine 'remote' of oumi-http 3.0 is disabled: OUMI_DISABLE_PLUGINS names it"
    )


def test_one_distribution_that_announces_a_name_twice_is_told_apart_from_two() -> None:
    message = refused(registry(ROW, ROW), "acme")
    assert message.endswith("twice by the same one, whose authors must choose")


def test_what_is_built_in_can_be_disabled_by_any_of_its_names() -> None:
    for item in ("echo", "ECHO", "oumi-core", "oumi_core:echo"):
        [info] = registry(ECHO, OUMI_DISABLE_PLUGINS=item).list_plugins()
        assert info.state is PluginState.DISABLED
        assert info.reason == "OUMI_DISABLE_PLUGINS names it"


def test_a_provider_is_switched_by_its_row_its_entry_point_or_its_distribution() -> None:
    for item in ("acme", "rows", "acme-providers", "acme.providers:acme", "acme_providers:rows"):
        [info] = registry(ROW, OUMI_DISABLE_PLUGINS=item).list_plugins()
        assert info.state is PluginState.DISABLED


def test_every_wrong_item_of_the_switches_is_reported_at_once() -> None:
    wrong = registry(ECHO, OUMI_PLUGINS="one,echo", OUMI_DISABLE_PLUGINS=" two ,")
    with pytest.raises(ConfigError) as caught:
        wrong.find(ENGINE, "echo")
    assert caught.value.faults == (
        "OUMI_PLUGINS: 'one' is no installed plugin; there are: echo, oumi-core",
        "OUMI_DISABLE_PLUGINS: 'two' is no installed plugin; there are: echo, oumi-core",
    )


def test_the_switches_are_read_at_each_call() -> None:
    environ: dict[str, str] = {}
    asked = Registry(scan=lambda: [ECHO], environ=environ)
    assert asked.list_plugins()[0].state is PluginState.AVAILABLE
    environ["OUMI_DISABLE_PLUGINS"] = "echo"
    assert asked.list_plugins()[0].state is PluginState.DISABLED


def test_the_metadata_is_read_on_first_use_and_once() -> None:
    scans: list[int] = []

    def scan() -> list[Announced]:
        scans.append(1)
        return [ECHO]

    asked = Registry(scan=scan, environ={})
    assert scans == []
    asked.list_plugins()
    asked.find(ENGINE, "echo")
    assert len(scans) == 1


def test_all_that_core_offers_loads() -> None:
    for kind in KINDS:
        for name in BUILT_IN.get(kind.group, ()):
            assert default_registry().find(kind, f"oumi-core:{name}").distribution == "oumi-core"
    assert find(GUIDED_DECODER, "oumi-core:native").name == "native"
    assert "echo" in {info.name for info in list_plugins()}


@given(st.text())
def test_normalising_twice_changes_nothing(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)
