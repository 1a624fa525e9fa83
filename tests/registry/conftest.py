"""A virtual environment with real plugins in it, which the tests build, install and ask."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import oumi_core.registry

if TYPE_CHECKING:
    from collections.abc import Mapping

HOOKS = "from oumi_core.hookspecs import hookimpl\n"
OFFER = HOOKS + "@hookimpl\ndef oumi_engines():\n    return {offer}\n"
ENGINE = """
from oumi_core.engine import Capabilities, Engine

class AcmeEngine(Engine):
    '''Answers like Acme.

    In more words.
    '''
    capabilities = Capabilities(guided={"json"})
    async def complete(self, request):
        raise NotImplementedError
"""


DECODER = """
from oumi_core.guided.decoder import Decoder

class AcmeDecoder(Decoder):
    def prepare(self, request, capabilities):
        return request

class Lazy:
    pass
"""


def engines(**names: str) -> dict[str, dict[str, str]]:
    return {"oumi.engines": names}


@attrs.frozen
class Project:
    """A distribution to be: its files by path, its entry points by group."""

    name: str
    version: str
    files: Mapping[str, str]
    entry_points: Mapping[str, Mapping[str, str]]

    def wheel(self, folder: Path) -> Path:
        """Write the wheel: a zip of the files and of what describes them."""
        stem = f"{self.name.replace('-', '_')}-{self.version}"
        info = f"{stem}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        entry_points = "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items())
            for group, names in self.entry_points.items()
        )
        files = {
            **self.files,
            f"{info}/METADATA": metadata,
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": entry_points,
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        path = folder / f"{stem}-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
        return path


GOOD = Project(
    "acme-good",
    "1.2",
    {
        "acme_good/__init__.py": "",
        "acme_good/engine.py": "print('noise of the class module')" + ENGINE,
        "acme_good/decoder.py": DECODER,
        "acme_good/hooks.py": """\
from oumi_core.hookspecs import hookimpl
print("noise of the hook module")

@hookimpl
def oumi_engines():
    return {"acme": "acme_good.engine:AcmeEngine", "ACME_mini": "acme_good.engine:AcmeEngine"}

@hookimpl
def oumi_guided_decoders():
    decoder = "acme_good.decoder:"
    return {"acme": decoder + "AcmeDecoder", "lazy": decoder + "Lazy"}

@hookimpl
def oumi_samplers():
    return {}
""",
    },
    {
        **engines(acme="acme_good.hooks", Acme_Mini="acme_good.hooks"),
        "oumi.guided_decoding": {"acme": "acme_good.hooks", "lazy": "acme_good.hooks"},
    },
)

FAULTS = Project(
    "acme-faults",
    "0.3",
    {
        "acme_faults/__init__.py": "",
        "acme_faults/engine.py": ENGINE
        + """
class Next(AcmeEngine):
    contract = 2

class Old(AcmeEngine):
    contract = 0

class Wordy(AcmeEngine):
    contract = "1"

class Unable(AcmeEngine):
    capabilities = {"json"}

class Unfinished(Engine):
    pass
""",
        "acme_faults/raises.py": 'open("raised", "a").write("x")\n'
        'raise RuntimeError("boom\\nbang")',
        "acme_faults/exits.py": "import sys\nsys.exit(3)",
        "acme_faults/syntax.py": "def (",
        "acme_faults/needy.py": "import acme_is_not_there",
        "acme_faults/hookless.py": HOOKS + "@hookimpl\ndef oumi_engine():\n    return {}\n",
        "acme_faults/listing.py": OFFER.format(offer="['listing']"),
        "acme_faults/greedy.py": HOOKS + "@hookimpl\ndef oumi_engines(config):\n    return {}\n",
        "acme_faults/late.py": OFFER.format(offer="{}[0]"),
        "acme_faults/hooks.py": OFFER.format(
            offer={
                "other": "acme_faults.engine:AcmeEngine",
                "path": "acme_faults.engine:Missing",
                "module": "acme_faults.nowhere:Engine",
                "form": "acme_faults.engine.AcmeEngine",
                "lazily": "acme_faults.lazily:Engine",
                "number": 3,
                "stranger": "acme_faults.raises_not:Stranger",
                **{
                    name.lower(): f"acme_faults.engine:{name}"
                    for name in ("Next", "Old", "Wordy", "Unable", "Unfinished")
                },
            }
        ),
        "acme_faults/lazily.py": "def __getattr__(name):\n    raise OSError('no such library')\n",
        "acme_faults/raises_not.py": "class Stranger:\n    pass\n",
    },
    engines(
        **{
            name: f"acme_faults.{name}"
            for name in (
                *("raises", "exits", "syntax", "needy"),
                *("hookless", "listing", "greedy", "late"),
            )
        },
        **dict.fromkeys(
            (
                *("lacking", "other", "path", "module", "form", "lazily", "number", "stranger"),
                *("next", "old", "wordy", "unable", "unfinished"),
            ),
            "acme_faults.hooks",
        ),
        again="acme_faults.raises",
        value="acme_faults.hooks:thing",
    ),
)


def simple(name: str, version: str = "1.0", *, engine: str, code: str = "") -> Project:
    """A plugin of one engine whose hook module starts with some code."""
    package = name.replace("-", "_")
    return Project(
        name,
        version,
        {
            f"{package}/__init__.py": "",
            f"{package}/hooks.py": code
            + OFFER.format(offer={engine: f"{package}.engine:AcmeEngine"}),
            f"{package}/engine.py": ENGINE,
        },
        engines(**{engine: f"{package}.hooks"}),
    )


DATA = Project(
    "acme-data",
    "4.0",
    {
        "acme_data/__init__.py": "raise RuntimeError('imported')",
        "acme_data/inner/providers.toml": """\
[[providers]]
name = "Acme_Cloud"
base_url = "https://api.acme.example/v1"
api_key_env = "ACME_API_KEY"
model = "acme-large"
[providers.quirks]
max_tokens_field = "max_tokens"

[[providers]]
name = "acme-leaky"
base_url = "https://api.acme.example/v1"
api_key_env = "sk-not-a-variable"
""",
        "acme_mess/providers.toml": "[[providers]\n",
    },
    {"oumi.providers": {"rows": "acme_data.inner", "mess": "acme_mess"}},
)

INSTALLED = (
    GOOD,
    FAULTS,
    DATA,
    simple("acme-twin-a", engine="twin"),
    simple("acme-twin-b", "2.0", engine="Twin"),
    simple("acme-echo", engine="echo"),
    simple("acme-hangs", engine="hangs", code="import time; time.sleep(600)\n"),
    simple("acme-aborts", engine="aborts", code="import os; os.abort()\n"),
    simple("acme-quits", engine="quits", code="import os; os._exit(0)\n"),
)
EDITABLE = simple("acme-editable", engine="editable")

BACKEND = """\
import pathlib, shutil

def build_editable(folder, config_settings=None, metadata_directory=None):
    wheel, = pathlib.Path("dist").glob("*.whl")
    shutil.copy(wheel, folder)
    return wheel.name

build_wheel = build_editable
"""


def write_editable(project: Project, folder: Path) -> None:
    """Lay a project out as a source tree whose own build backend serves `pip install -e`."""
    (folder / "dist").mkdir(parents=True)
    for name, text in project.files.items():
        path = folder / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    link = {f"{project.name}.pth": f"{folder / 'src'}\n"}
    attrs.evolve(project, files=link).wheel(folder / "dist")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{project.name}"\nversion = "{project.version}"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )


@attrs.frozen
class Site:
    """The virtual environment."""

    python: Path
    folder: Path

    def pip(self, *arguments: str | Path) -> None:
        command: list[str | Path] = [self.python, "-m", "pip", "install", "--quiet"]
        command += ["--no-index", "--no-deps", "--disable-pip-version-check", "--no-compile"]
        subprocess.run([*command, *arguments], check=True, stdin=subprocess.DEVNULL)

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run its interpreter, with no switch set but those that are given."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("OUMI_")}
        clean.pop("PYTHONPATH", None)
        return subprocess.run(
            [self.python, *arguments],
            env=clean | environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, code: str, **environ: str) -> Any:
        """Run code in it that leaves something JSON-ready in `answer`; return that."""
        program = PRELUDE + textwrap.dedent(code) + "\nreply.write(json.dumps(answer))"
        done = self.run("-c", program, **environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


PRELUDE = """
import json, os, sys
from oumi_core.errors import OumiError
from oumi_core.registry import ENGINE, GUIDED_DECODER, find, list_plugins

reply = os.fdopen(os.dup(1), "w")  # the plugins' own noise goes to stderr
os.dup2(2, 1)

def loaded():
    return sorted(name for name in sys.modules if name.startswith("acme"))

def fault(name, kind=ENGINE):
    try:
        find(kind, name)
    except OumiError as error:
        return str(error)
"""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    venv.create(folder / "venv", with_pip=True, symlinks=True)
    site = Site(folder / "venv" / "bin" / "python", folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    # oumi_core and what it needs come from the environment that runs the tests.
    core = Path(oumi_core.registry.__file__).parents[1]
    lines = [str(core), *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    pth = folder / "venv" / "lib" / version / "site-packages" / "outer.pth"
    pth.write_text("\n".join(lines))
    write_editable(EDITABLE, folder / "editable")
    site.pip(*(project.wheel(folder) for project in INSTALLED))
    site.pip("--no-build-isolation", "--editable", folder / "editable")
    return site


@pytest.fixture(scope="session")
def shadow(site: Site) -> Path:
    """A folder for PYTHONPATH that holds another version of `acme-good`."""
    newer = attrs.evolve(GOOD, version="9.9")
    site.pip("--target", site.folder / "shadow", newer.wheel(site.folder))
    return site.folder / "shadow"
