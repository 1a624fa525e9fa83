"""Plugins that are loaded in a process of their own."""

from __future__ import annotations

import json
from typing import Any

import pytest


def probe(site: Any, name: str, kind: str = "ENGINE", timeout: float = 60) -> Any:
    return site.ask(f"""
        from oumi_core.probe import probe
        answer = {{**probe({kind}, {name!r}, timeout={timeout}).to_dict(), "here": loaded()}}
    """)


def test_a_plugin_is_described_without_being_loaded_here(site: Any) -> None:
    report = probe(site, "acme")
    capabilities = report.pop("capabilities")
    assert capabilities["guided"] == ["json"]
    assert capabilities["streaming"] is False
    assert report == {
        "name": "acme",
        "kind": "engine",
        "state": "ok",
        "distribution": "acme-good",
        "version": "1.2",
        "error": None,
        "class_path": "acme_good.engine:AcmeEngine",
        "summary": "Answers like Acme.",
        "contract": 1,
        "unknown_hooks": ["oumi_samplers"],
        "here": [],
    }


def test_other_kinds_have_no_contract_and_no_capabilities(site: Any) -> None:
    report = probe(site, "acme", kind="GUIDED_DECODER")
    assert report["state"] == "ok"
    assert report["class_path"] == "acme_good.decoder:AcmeDecoder"
    assert report["contract"] is report["capabilities"] is report["summary"] is None


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("raises", "raised RuntimeError: boom; try pip install --upgrade acme-faults"),
        ("exits", "raised SystemExit: 3"),
        ("aborts", "its process ended by SIGABRT while loading it"),
        ("quits", "its process ended with status 0 while loading it"),
    ],
)
def test_whatever_a_plugin_does_on_import_ends_in_a_report(
    site: Any, name: str, error: str
) -> None:
    report = probe(site, name)
    assert report["state"] == "BROKEN"
    assert error in report["error"]
    assert report["distribution"].startswith("acme-")
    assert report["version"]


def test_a_plugin_that_hangs_is_ended_after_its_time(site: Any) -> None:
    report = probe(site, "hangs", timeout=1)
    assert report["state"] == "BROKEN"
    assert report["error"] == "did not load within 1 s"
    assert report["distribution"] == "acme-hangs"


def test_a_name_that_means_nothing_or_too_much_is_reported(site: Any) -> None:
    unknown = probe(site, "acne")
    assert unknown["state"] == "BROKEN"
    assert unknown["distribution"] is None
    assert "did you mean 'acme'" in unknown["error"]
    assert "announced by acme-twin-a 1.0 and acme-twin-b 2.0" in probe(site, "twin")["error"]


def test_all_that_is_available_is_probed_in_the_order_of_the_listing(site: Any) -> None:
    reports = site.ask(
        """
        from oumi_core.probe import probe_all
        answer = [[report.name, report.ok] for report in probe_all()]
        """,
        OUMI_PLUGINS="acme-good,acme-editable,acme-quits",
    )
    assert reports == [
        ["acme", True],
        ["acme-mini", True],
        ["echo", True],
        ["editable", True],
        ["quits", False],
    ]


def test_the_command_prints_one_json_object_and_leaves_noise_to_stderr(site: Any) -> None:
    done = site.run("-m", "oumi_core.probe", "engine", "acme")
    assert done.returncode == 0
    assert json.loads(done.stdout)["state"] == "ok"
    assert done.stdout.count("\n") == 1
    assert "noise of the hook module" in done.stderr


def test_the_command_explains_its_arguments(site: Any) -> None:
    done = site.run("-m", "oumi_core.probe", "motor", "acme")
    assert done.returncode == 2
    assert "guided-decoder" in done.stderr
