"""What the registry makes of plugins that are really installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


Lines = dict[tuple[str, str], dict[str, Any]]


def listing(site: Any, **environ: str) -> Lines:
    lines = site.ask("answer = [info.to_dict() for info in list_plugins()]", **environ)
    return {(line["name"], line["distribution"]): line for line in lines}


@pytest.fixture(scope="session")
def lines(site: Any) -> Lines:
    """The listing of everything, no switch set."""
    return listing(site)


def test_listing_imports_no_plugin_and_no_pluggy(site: Any) -> None:
    answer = site.ask("""
        names = [info.name for info in list_plugins()]
        heavy = {"pluggy", "oumi_core.engine", "asyncio", "acme_data"} & set(sys.modules)
        answer = {"names": names, "loaded": loaded(), "heavy": sorted(heavy)}
    """)
    assert {"acme", "acme-mini", "acme-cloud", "editable", "hangs"} <= set(answer["names"])
    assert answer["names"] == sorted(answer["names"])
    assert answer["loaded"] == []
    assert answer["heavy"] == []


def test_importing_the_registry_reads_no_metadata(site: Any) -> None:
    done = site.run(
        "-c", "import oumi_core.registry, sys; print('importlib.metadata' in sys.modules)"
    )
    assert done.stdout.strip() == "False", done.stderr


def test_a_line_tells_where_a_plugin_comes_from(lines: Lines) -> None:
    assert lines["acme", "acme-good"] == {
        "name": "acme",
        "kind": "engine",
        "distribution": "acme-good",
        "version": "1.2",
        "state": "available",
        "entry_point": "acme_good.hooks",
        "provider": None,
        "reason": None,
    }
    assert lines["echo", "oumi-core"]["entry_point"] == "oumi_core.built_in"


def test_asking_for_one_name_loads_that_plugin_alone(site: Any) -> None:
    answer = site.ask("""
        found = find(ENGINE, "acme")
        answer = [found.cls.__name__, found.distribution, found.version, loaded()]
    """)
    modules = ["acme_good", "acme_good.engine", "acme_good.hooks"]
    assert answer == ["AcmeEngine", "acme-good", "1.2", modules]


def test_one_module_serves_several_names_and_kinds(site: Any) -> None:
    answer = site.ask("""
        names = [find(ENGINE, name).name for name in ("acme", "ACME_MINI", "acme-good:acme")]
        names.append(find(GUIDED_DECODER, "acme").cls.__name__)
        answer = {"names": names, "unknown": find(ENGINE, "acme").unknown_hooks}
    """)
    assert answer["names"] == ["acme", "acme-mini", "acme", "AcmeDecoder"]
    assert answer["unknown"] == ["oumi_samplers"]


def test_a_guided_decoder_must_be_one(site: Any) -> None:
    answer = site.ask("""
        from oumi_core.errors import PluginError
        try:
            find(GUIDED_DECODER, "lazy")
        except PluginError as error:
            answer = str(error)
    """)
    assert "acme_good.decoder:Lazy must be a subclass of oumi_core.guided.decoder" in answer


def test_a_second_plugin_does_not_answer_for_the_first(site: Any) -> None:
    answer = site.ask("""
        first, second = find(ENGINE, "acme"), find(ENGINE, "editable")
        answer = [first.cls.__module__, second.cls.__module__]
    """)
    assert answer == ["acme_good.engine", "acme_editable.engine"]


def test_what_is_built_in_comes_by_the_same_way(site: Any) -> None:
    answer = site.ask("""
        found = find(ENGINE, "oumi-core:Echo")
        answer = [found.cls.__name__, found.distribution, "oumi_core.built_in" in sys.modules]
    """)
    assert answer == ["EchoEngine", "oumi-core", True]


BROKEN = {
    "raises": "cannot be loaded: importing acme_faults.raises raised RuntimeError: boom; try",
    "again": "cannot be loaded: importing acme_faults.raises raised RuntimeError: boom; try",
    "exits": "cannot be loaded: importing acme_faults.exits raised SystemExit: 3; try",
    "syntax": "cannot be loaded: importing acme_faults.syntax raised SyntaxError: ",
    "needy": "importing acme_faults.needy needs 'acme_is_not_there', which is not installed; try",
    "hookless": "acme_faults.hookless has no @hookimpl oumi_engines() that returns something "
    "(it has oumi_engine, which is no hook); try",
    "listing": "oumi_engines() of acme_faults.listing returned list, not a mapping of names; try",
    "greedy": "does not fit the hooks of this oumi-core (Plugin 'acme_faults.greedy'",
    "late": "oumi_engines() of acme_faults.late raised KeyError: 0; try",
    "value": "names no module: 'acme_faults.hooks:thing'; try",
    "lacking": "is announced, but oumi_engines() of acme_faults.hooks offers only 'form', ",
    "path": "is offered as 'acme_faults.engine:Missing', but acme_faults.engine has no Missing",
    "module": "importing acme_faults.nowhere needs its module acme_faults.nowhere, which is not",
    "form": "is offered as 'acme_faults.engine.AcmeEngine', which must have the form 'module:Cl",
    "lazily": "cannot be loaded: acme_faults.lazily:Engine raised OSError: no such library; try",
    "number": "is not a class but 3; try",
    "stranger": "acme_faults.raises_not:Stranger must be a subclass of oumi_core.engine.Engine",
    "wordy": "is no engine: `contract` of acme_faults.engine:Wordy must be a number; this",
    "unable": "is no engine: `capabilities` of acme_faults.engine:Unable must be Capabilities",
    "unfinished": "is no engine: acme_faults.engine:Unfinished does not define complete",
    "next": "is written for contract 2, and this oumi-core serves 1 to 1: "
    "pip install --upgrade oumi-core",
    "old": "is written for contract 0, and this oumi-core serves 1 to 1: "
    "pip install --upgrade acme-faults",
}


@pytest.fixture(scope="session")
def faults(site: Any) -> Any:
    """What one process says of all broken plugins, asked twice, and then of a good one."""
    return site.ask(f"""
        import pathlib
        log = pathlib.Path("raised")
        log.unlink(missing_ok=True)
        names = {list(BROKEN)}
        answer = {{name: [fault(name), fault(name)] for name in names}}
        answer["other"] = fault("other")
        answer["acme"] = fault("acme")
        answer["imports"] = len(log.read_text())
    """)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_says_whose_it_is_what_is_wrong_and_what_to_do(
    faults: Any, name: str
) -> None:
    first, second = faults[name]
    assert first.startswith(f"engine '{name}' of acme-faults 0.3 ")
    assert BROKEN[name] in first
    assert "pip install --upgrade " in first or "is no engine" in first
    assert second == first


def test_a_broken_plugin_breaks_no_other_and_is_imported_once(faults: Any) -> None:
    assert faults["other"] is None
    assert faults["acme"] is None
    assert faults["imports"] == 1


def test_the_error_keeps_the_original(site: Any) -> None:
    answer = site.ask("""
        answer = []
        for _ in range(2):
            try:
                find(ENGINE, "raises")
            except OumiError as error:
                answer.append([error.name, type(error).__name__, repr(error.__cause__)])
    """)
    assert answer == [["raises", "PluginError", "RuntimeError('boom\\nbang')"]] * 2


def test_two_distributions_with_one_name_clash_until_one_is_picked(site: Any, lines: Lines) -> None:
    assert lines["twin", "acme-twin-a"]["state"] == "clash"
    assert lines["twin", "acme-twin-b"]["state"] == "clash"
    assert "acme-twin-b 2.0" in lines["twin", "acme-twin-a"]["reason"]
    answer = site.ask("""
        answer = [fault("twin"), loaded(), find(ENGINE, "acme_twin_b:TWIN").version, loaded()]
    """)
    message, before, version, after = answer
    assert "announced by acme-twin-a 1.0 and acme-twin-b 2.0" in message
    assert "'acme-twin-a:twin' or 'acme-twin-b:twin'" in message
    assert before == []
    assert version == "2.0"
    assert all(module.startswith("acme_twin_b") for module in after)


def test_a_clash_ends_when_one_side_is_disabled(site: Any) -> None:
    answer = site.ask(
        "answer = [find(ENGINE, 'twin').distribution]", OUMI_DISABLE_PLUGINS="acme-twin-a"
    )
    assert answer == ["acme-twin-b"]


def test_the_names_of_core_are_not_taken_over(site: Any) -> None:
    answer = site.ask("""
        answer = [fault("echo"), find(ENGINE, "oumi-core:echo").distribution,
                  find(ENGINE, "acme-echo:echo").distribution]
    """)
    assert "ask for 'acme-echo:echo' or 'oumi-core:echo'" in answer[0]
    assert answer[1:] == ["oumi-core", "acme-echo"]


def test_a_distribution_that_is_there_twice_is_no_clash(site: Any, shadow: Path) -> None:
    answer = site.ask(
        "answer = [[info.version, info.state] for info in list_plugins() if info.name == 'acme']",
        PYTHONPATH=str(shadow),
    )
    assert answer == [["9.9", "available"]]


def test_an_editable_install_works_like_any_other(site: Any, lines: Lines) -> None:
    assert lines["editable", "acme-editable"]["state"] == "available"
    answer = site.ask("""
        find(ENGINE, "editable")
        answer = sys.modules["acme_editable"].__file__
    """)
    assert answer == str(site.folder / "editable" / "src" / "acme_editable" / "__init__.py")


def test_what_is_installed_later_is_found_without_a_restart(site: Any) -> None:
    answer = site.ask("""
        import pathlib
        before = fault("late-comer")
        info = pathlib.Path("later/acme_late-1.dist-info")
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: acme-late\\nVersion: 1\\n")
        (info / "entry_points.txt").write_text("[oumi.engines]\\nlate-comer = acme_good.hooks\\n")
        sys.path.append("later")
        answer = [before, fault("late-comer")]
    """)
    assert answer[0].startswith("there is no engine 'late-comer'")
    assert "offers only 'acme', 'acme-mini'" in answer[1]


def test_a_provider_is_an_engine_that_is_data(lines: Lines) -> None:
    line = lines["acme-cloud", "acme-data"]
    assert line["state"] == "available"
    assert line["entry_point"] == "acme_data.inner"
    assert line["provider"] == {
        "base_url": "https://api.acme.example/v1",
        "api_key_env": "ACME_API_KEY",
    }


def test_a_broken_row_or_file_of_providers_breaks_nothing_else(site: Any, lines: Lines) -> None:
    leaky, mess = lines["acme-leaky", "acme-data"], lines["mess", "acme-data"]
    assert leaky["state"] == mess["state"] == "broken"
    assert "providers.toml: row 2 ('acme-leaky'): api_key_env: must be the name" in leaky["reason"]
    assert "sk-not" not in leaky["reason"]
    assert "acme_mess/providers.toml: " in mess["reason"]
    message = site.ask("answer = fault('mess')")
    assert message.startswith("engine 'mess' of acme-data 4.0 cannot be used: ")


def test_the_allow_list_disables_what_it_does_not_name(site: Any) -> None:
    lines = listing(site, OUMI_PLUGINS="acme_good, Twin,acme-data:acme-cloud")
    available = {name for name, line in lines.items() if line["state"] == "available"}
    assert available == {
        ("acme", "acme-good"),
        ("acme-mini", "acme-good"),
        ("acme-cloud", "acme-data"),
        ("echo", "oumi-core"),
    }
    assert lines["twin", "acme-twin-a"]["state"] == "clash"
    assert lines["editable", "acme-editable"]["state"] == "disabled"


def test_an_empty_allow_list_leaves_what_is_built_in(site: Any) -> None:
    lines = listing(site, OUMI_PLUGINS="")
    assert {name for name, line in lines.items() if line["state"] != "disabled"} == {
        ("echo", "oumi-core")
    }


def test_a_disabled_plugin_is_not_imported_and_says_what_disables_it(site: Any) -> None:
    answer = site.ask(
        "answer = [fault('acme'), fault('editable'), loaded()]",
        OUMI_PLUGINS="acme-good",
        OUMI_DISABLE_PLUGINS="acme",
    )
    assert answer == [
        "engine 'acme' of acme-good 1.2 is disabled: OUMI_DISABLE_PLUGINS names it",
        (
            "engine 'editable' of acme-editable 1.0 is disabled: "
            "OUMI_PLUGINS is set and does not name it"
        ),
        [],
    ]


def test_an_item_of_a_switch_that_matches_nothing_is_an_error(site: Any) -> None:
    answer = site.ask(
        """
        answer = [fault("acme")]
        try:
            list_plugins()
        except OumiError as error:
            answer.append(str(error))
        """,
        OUMI_PLUGINS="acme-god",
        OUMI_DISABLE_PLUGINS="acme-good:twin",
    )
    assert answer[0] == answer[1]
    assert (
        "OUMI_PLUGINS: 'acme-god' is no installed plugin (did you mean 'acme-good'?)" in answer[0]
    )
    assert "OUMI_DISABLE_PLUGINS: 'acme-good:twin' is no installed plugin" in answer[0]
