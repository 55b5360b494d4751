"""What is imported is declared in pyproject.toml, and what is declared is used."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = {"voxtell_dicom", "tests", "tools", "benchmarks", *(path.stem for path in (ROOT / "tools").glob("*.py"))}
USED_BY_NAME = {  # no import statement names these: the file that leads to them, and the word by which it does
    "pylibjpeg": ("voxtell_dicom/dicom/codecs/choice.py", '"pylibjpeg"'),
    "pylibjpeg-openjpeg": ("voxtell_dicom/dicom/codecs/choice.py", "JPEG2000"),
    "pyjpegls": ("voxtell_dicom/dicom/codecs/choice.py", '"pyjpegls"'),
    "pillow": ("voxtell_dicom/dicom/codecs/choice.py", '"pillow"'),
    "psycopg": ("voxtell_dicom/archive/database.py", "postgresql+psycopg"),
    "dcmqi": ("tests/encode/made.py", "segimage2itkimage"),
    "pytest-cov": ("Makefile", "--cov"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout ="),
    "pytest-xdist": ("Makefile", "--dist loadfile"),
    "schemathesis": ("tests/web/test_openapi.py", '"schemathesis"'),
    "build": ("tests/operation/built.py", '"build"'),
    "setuptools": ("pyproject.toml", "setuptools.build_meta"),
    "twine": ("Makefile", "twine check"),
    "ruff": ("Makefile", "ruff check"),
    "mypy": ("Makefile", "/mypy"),
    "import-linter": ("Makefile", "lint-imports"),
    "pre-commit": ("CONTRIBUTING.md", "pre-commit install"),
    "types-pyyaml": ("voxtell_dicom/config/source.py", "import yaml"),
}


def normalised(name: str) -> str:
    """Return the name of a distribution as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    """Return the distributions that the package and the extras need; an extra may name other extras."""
    project = PROJECT["project"]
    found: set[str] = set()
    for requirement in [
        *project["dependencies"],
        *(line for e in extras for line in project["optional-dependencies"][e]),
    ]:
        match = re.match(r"([\w.-]+)(?:\[([\w,-]+)\])?", requirement)
        assert match, requirement
        if match[1] == project["name"]:
            found |= declared(*match[2].split(","))
        else:
            found.add(normalised(match[1]))
    return found


def imported(*folders: str) -> dict[str, str]:
    """Return the third-party top-level modules that the files of the folders import, each with one of these files."""
    found: dict[str, str] = {}
    for path in (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: Iterable[str] = ()
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            found |= {name.partition(".")[0]: str(path.relative_to(ROOT)) for name in names}
    return {name: path for name, path in found.items() if name not in OURS | sys.stdlib_module_names}


PACKAGE = ("voxtell_dicom",)
AROUND = ("tests", "tools", "benchmarks")
PROVIDERS = {module: set(map(normalised, names)) for module, names in packages_distributions().items()}


@pytest.mark.parametrize(
    ("folders", "extras"), [(PACKAGE, ("cuda", "postgresql")), (AROUND, ("test", "dev"))], ids=["package", "around it"]
)
def test_what_is_imported_is_declared(folders: tuple[str, ...], extras: tuple[str, ...]) -> None:
    known = declared(*extras)
    undeclared = {name: path for name, path in imported(*folders).items() if not PROVIDERS.get(name, set()) & known}
    assert undeclared == {}


@pytest.mark.parametrize(
    ("names", "folders"),
    [(declared("cuda", "postgresql"), PACKAGE), (declared("test", "dev"), (*PACKAGE, *AROUND))],
    ids=["package", "extras"],
)
def test_what_is_declared_is_used(names: set[str], folders: tuple[str, ...]) -> None:
    used = {name for module in imported(*folders) for name in PROVIDERS.get(module, ())}
    assert sorted(names - used - set(USED_BY_NAME)) == []


def test_what_is_used_by_name_is_declared_and_named_there() -> None:
    assert set(USED_BY_NAME) <= declared("cuda", "postgresql", "test", "dev")
    assert [name for name, (path, word) in USED_BY_NAME.items() if word not in (ROOT / path).read_text()] == []


def test_the_oldest_python_is_the_same_everywhere() -> None:
    oldest = PROJECT["project"]["requires-python"].removeprefix(">=")
    minor = int(oldest.partition(".")[2])
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py3{minor}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    versions = re.findall(r"Python :: 3\.(\d+)", "\n".join(PROJECT["project"]["classifiers"]))
    assert min(map(int, versions)) == minor
    assert f"sys.version_info < (3, {minor})" in (ROOT / "Makefile").read_text()
    assert f"Python {oldest} or newer" in (ROOT / "README.md").read_text()
    base = re.findall(r"^FROM \S*ubuntu([\d.]+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    assert all(float(version) >= 24.04 for version in base)  # Ubuntu 24.04 ships Python 3.12
