"""Reading the rows of a `providers.toml`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oumi_core.providers import PROVIDERS_FILE, Provider, ProviderRow, read_providers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Read = Callable[[str | bytes], tuple[ProviderRow, ...]]


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Read:
    """Read a text as the file of a package that cannot be imported."""
    package = tmp_path / "rows_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(tmp_path)

    def read_text(text: str | bytes) -> tuple[ProviderRow, ...]:
        data = text if isinstance(text, bytes) else text.encode()
        (package / PROVIDERS_FILE).write_bytes(data)
        return read_providers("rows_of_a_test", source="rows 1.0")

    return read_text


def row(**fields: Any) -> str:
    lines = (
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items()
    )
    return "[[providers]]\n" + "".join(lines)


LEAST = {"name": "acme", "base_url": "https://acme.example/v1"}


def test_a_row_needs_a_name_and_a_url(read: Read) -> None:
    assert read(row(**LEAST)) == (
        ProviderRow("acme", Provider("acme", "https://acme.example/v1", source="rows 1.0")),
    )


def test_a_row_may_say_more(read: Read) -> None:
    text = """
        [[providers]]
        name = "acme"
        base_url = "http://localhost:8000/v1"
        api_key_env = "ACME_KEY"
        model = "large"
        docs = "https://acme.example"
        [providers.quirks]
        drop = ["seed"]
        limits = { stop = 4 }
    """
    assert read(text)[0].provider == Provider(
        name="acme",
        base_url="http://localhost:8000/v1",
        api_key_env="ACME_KEY",
        model="large",
        docs="https://acme.example",
        quirks={"drop": ["seed"], "limits": {"stop": 4}},
        source="rows 1.0",
    )


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": "acme"}, "row 1 ('acme'): base_url: is missing"),
        ({"base_url": "https://acme.example"}, "row 1: name: is missing"),
        ({**LEAST, "name": ""}, "row 1: name: must be a text that is not empty"),
        ({**LEAST, "name": "a:b"}, "row 1: name: must be made of letters"),
        ({**LEAST, "name": 3}, "row 1: name: must be a text"),
        ({**LEAST, "base_url": "acme.example/v1"}, "base_url: must start with https:// or http://"),
        ({**LEAST, "base_url": "ftp://acme.example"}, "base_url: must start with https://"),
        ({**LEAST, "base_url": "https://[acme"}, "base_url: is no URL"),
        ({**LEAST, "base_url": "https://me:pass@acme.example"}, "base_url: must hold no user"),
        ({**LEAST, "api_key_env": "sk-secret"}, "api_key_env: must be the name of an environment"),
        ({**LEAST, "model": 7}, "model: must be a text that is not empty"),
        ({**LEAST, "docs": "www"}, "docs: must start with https://"),
        ({**LEAST, "quirks": "none"}, "quirks: must be a table"),
        ({**LEAST, "api_key": "sk-secret"}, "api_key: unknown; the fields are name, base_url, "),
    ],
)
def test_a_fault_names_file_row_and_field_and_quotes_no_value(
    read: Read, fields: dict[str, Any], fault: str
) -> None:
    [found] = read(row(**fields))
    assert found.provider is None
    assert found.fault is not None
    assert fault in found.fault
    assert f"rows_of_a_test/{PROVIDERS_FILE}: row 1" in found.fault
    assert "secret" not in found.fault
    assert "pass@" not in found.fault


def test_a_faulty_row_leaves_the_others_usable(read: Read) -> None:
    good, bad = read(row(**LEAST) + row(name="other"))
    assert good.provider is not None
    assert (bad.name, bad.provider) == ("other", None)


def test_two_rows_of_one_name_are_both_at_fault(read: Read) -> None:
    rows = read(row(**LEAST) + row(**{**LEAST, "name": "ACME"}))
    assert [one.provider for one in rows] == [None, None]
    assert all("name: used by 2 rows of this file" in (one.fault or "") for one in rows)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[providers]", "providers.toml: "),
        (b"\xff", "providers.toml: "),
        ("", "must hold tables [[providers]] and nothing else"),
        ("[providers]\n", "must hold tables [[providers]] and nothing else"),
        ("[[provider]]\n", "must hold tables [[providers]] and nothing else, and not provider"),
        ("providers = [1]", "row 1: must be a table"),
    ],
)
def test_a_file_that_holds_no_rows_is_one_fault(read: Read, text: str | bytes, fault: str) -> None:
    [found] = read(text)
    assert found.name is None
    assert fault in (found.fault or "")


@pytest.mark.parametrize(
    ("package", "fault"),
    [
        ("there_is_no_such_package", "package 'there_is_no_such_package' cannot be located"),
        ("not a name", "package 'not a name' cannot be located"),
        ("oumi_core.errors:x", "there is no such file"),
        ("oumi_core", "providers.toml: there is no such file"),
        ("__main__", "package '__main__' cannot be located"),
    ],
)
def test_a_package_without_the_file_is_one_fault(package: str, fault: str) -> None:
    [found] = read_providers(package, source="rows 1.0")
    assert fault in (found.fault or "")


texts = st.text(st.characters(exclude_categories=["C"]))  # what JSON and TOML spell alike
values = st.one_of(texts, st.integers(), st.booleans(), st.lists(texts, max_size=2))
fields = st.dictionaries(
    st.sampled_from(["name", "base_url", "api_key_env", "model", "docs", "quirks", "extra"]), values
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(fields, max_size=4))
def test_any_table_gives_one_answer_for_each_row(read: Read, rows: list[dict[str, Any]]) -> None:
    answers = read("".join(row(**one) for one in rows) or "providers = []")
    assert len(answers) == len(rows)
    assert all((one.provider is None) != (one.fault is None) for one in answers)
