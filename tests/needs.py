"""Find which programs of other people a test needs: in its code, its fixtures and the helpers that these call."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

import pytest

DCMTK: Final = (
    "storescu storescp echoscu dcmsend dcmconv dcmdump dcmftest dsrdump dcmcjpeg dcmdjpeg dcmcjpls dcmdjpls dcmcrle "
    "dcmdrle"
)
PACKAGES: Final = {  # program → what brings it
    **dict.fromkeys(DCMTK.split(), "dcmtk"),
    "Orthanc": "orthanc",
    "dciodvfy": "dicom3tools",
    "dcentvfy": "dicom3tools",
    "dcm2niix": "dcm2niix",
    "gdcmconv": "libgdcm-tools",
    "chromium": "chromium",
    "npm": "npm",
    "openssl": "openssl",
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "systemd-analyze": "systemd",
    "mount": "root",
    "unshare": "root",
}
BY_FIXTURE: Final = {"postgresql_url": {"postgresql"}, "small_disk": {"root"}, "orthanc": {"orthanc"}}
BY_FOLDER: Final = {"viewers": {"chromium", "npm", "orthanc"}}


def needed(item: pytest.Function) -> set[str]:
    """Return the names of the Debian packages (or "root") that a test needs."""
    found = set().union(*(BY_FIXTURE.get(name, set()) for name in item.fixturenames))
    found |= set().union(*(BY_FOLDER.get(part, set()) for part in item.path.parts))
    roots: list[Any] = [item.obj, *getattr(getattr(item, "callspec", None), "params", {}).values()]
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        roots += [definition.func for definition in definitions]
    return found | {PACKAGES[text] for text in _texts(roots) if text in PACKAGES}


def missing() -> set[str]:
    """Return what of PACKAGES this machine does not have."""
    absent = {package for program, package in PACKAGES.items() if package != "root" and not shutil.which(program)}
    if os.geteuid() != 0:
        absent.add("root")
    if not any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        absent.add("postgresql")
    return absent


def _texts(roots: list[Any]) -> Iterator[str]:
    """Yield the strings in the code of the functions, and of the functions of tests/ that they name."""
    pending, seen = list(roots), set()
    while pending:
        value = pending.pop()
        value = getattr(value, "__func__", getattr(value, "__wrapped__", value))
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple | list | set | frozenset):
            pending += value
        elif isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, CodeType):
            pending += value.co_consts
        elif isinstance(value, FunctionType) and _is_ours(value.__module__):
            pending += [value.__code__, *(cell.cell_contents for cell in value.__closure__ or () if _is_set(cell))]
            names = set(_names(value.__code__))
            named = [value.__globals__[name] for name in names if name in value.__globals__]
            ours = [each for each in named if isinstance(each, ModuleType) and _is_ours(each.__name__)]
            pending += named + [vars(module)[name] for module in ours for name in names if name in vars(module)]
        elif isinstance(value, type) and _is_ours(value.__module__):
            pending += vars(value).values()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _is_ours(module: str | None) -> bool:
    return bool(module) and str(module).split(".")[0] in ("tests", "conftest")


def _is_set(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False
