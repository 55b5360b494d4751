"""What stands around the package: container, service, documents, and what must never be in the repository."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")


def tracked() -> list[Path]:
    """The files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (keyword, rest), continuation lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in lines]


def last_stage() -> dict[str, str]:
    """Of each keyword the last one of the final stage."""
    found = instructions()
    start = max(i for i, (keyword, _) in enumerate(found) if keyword == "FROM")
    return dict(found[start:])


def test_container_base_images_are_pinned() -> None:
    bases = [rest.split()[0] for keyword, rest in instructions() if keyword == "FROM"]
    assert bases
    assert all(re.fullmatch(r"nvidia/cuda:[\d.]+-\w+-ubuntu[\d.]+", base) for base in bases)


def test_container_runs_as_nobody_in_particular() -> None:
    user = last_stage()["USER"]
    assert user not in ("root", "0")
    account = next(rest for keyword, rest in instructions() if keyword == "RUN" and "useradd" in rest)
    assert f"--uid {user} " in account


def test_container_starts_without_a_shell() -> None:
    """Exec form: signals reach the node, nothing is expanded."""
    stage = last_stage()
    assert json.loads(stage["ENTRYPOINT"]) == ["voxtell-dicom"]
    assert json.loads(stage["CMD"])[0] == "serve"
    assert json.loads(stage["HEALTHCHECK"].partition(" CMD ")[2])[0] == "voxtell-dicom"


def test_container_keeps_models_and_data_outside() -> None:
    assert {"/models", "/data"} <= set(json.loads(last_stage()["VOLUME"]))


def test_container_gets_all_it_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    wanted = {
        name
        for keyword, rest in instructions()
        if keyword == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert wanted
    assert wanted <= allowed
    assert all((ROOT / name).exists() for name in wanted)


def test_no_settings_promise_several_nodes_on_one_database() -> None:
    """What the README's limits say: one node, one machine."""
    assert "One node, one machine" in (ROOT / "README.md").read_text()
    files = [path for path in tracked() if path.suffix in (".yaml", ".json") and "config" in path.parts]
    files.append(ROOT / "voxtell_dicom" / "cli" / "init.py")
    several = re.compile(r"database.*(several|all|more|shared).*nodes?", re.IGNORECASE)
    assert [str(path.relative_to(ROOT)) for path in files if several.search(path.read_text(encoding="utf-8"))] == []


def unit() -> list[tuple[str, str]]:
    """The systemd unit's settings, in order."""
    text = (ROOT / "packaging" / "voxtell-dicom.service").read_text()
    return [(name, value) for name, _, value in (line.partition("=") for line in text.splitlines() if "=" in line)]


def test_service_may_open_port_104_and_no_more() -> None:
    settings = dict(unit())
    assert settings["AmbientCapabilities"] == settings["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"
    assert settings["EnvironmentFile"].startswith("-/etc/")
    assert settings["StateDirectory"]


def test_service_is_a_valid_unit(tmp_path: Path) -> None:
    """With this machine's program in place of /opt's, systemd has nothing to say."""
    text = (ROOT / "packaging" / "voxtell-dicom.service").read_text()
    program = Path(sys.executable).with_name("voxtell-dicom")
    assert program.exists()
    path = tmp_path / "voxtell-dicom.service"
    path.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={program}", text, flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    about_us = [line for line in done.stderr.splitlines() if "voxtell" in line]
    assert (done.returncode, about_us) == (0, []), done.stderr


def links() -> Iterator[tuple[Path, str]]:
    """Every relative link of every document."""
    for page in (path for path in tracked() if path.suffix == ".md"):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                yield page, target


def test_links_lead_somewhere() -> None:
    broken = [f"{page.relative_to(ROOT)}: {target}" for page, target in links() if not (page.parent / target).exists()]
    assert broken == []


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for page, target in links() if page == index}
    pages = {path for path in tracked() if path.suffix == ".md" and path.is_relative_to(ROOT / "docs")} - {index}
    assert sorted(str(page.relative_to(ROOT)) for page in pages - linked) == []


def test_only_ci_names_the_folder_beside_the_repository() -> None:
    word = "../" + "shared"
    naming = [path for path in tracked() if word.encode() in path.read_bytes()]
    assert [str(path.relative_to(ROOT)) for path in naming] == [".ci/run"]


def test_no_series_of_anybody_is_committed() -> None:
    """DICOM files are made by the tests; none is stored, whatever its name."""
    files = [path for path in tracked() if path.suffix.lower() == ".dcm" or path.read_bytes()[128:132] == b"DICM"]
    assert files == []


def test_package_data_travels_with_the_package() -> None:
    """What lies in the package and is no Python file is named in pyproject.toml, else a wheel would lack it."""
    found = re.search(r"^voxtell_dicom = (\[.*?\])", (ROOT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert found
    package = ROOT / "voxtell_dicom"
    travelling = {path for pattern in ast.literal_eval(found[1]) for path in package.glob(pattern)}
    data = {path for path in tracked() if path.is_relative_to(package) and path.suffix != ".py"}
    assert sorted(str(path.relative_to(ROOT)) for path in data - travelling) == []


def test_ci_script_is_valid() -> None:
    subprocess.run(["bash", "-n", ROOT / ".ci" / "run"], check=True)
    subprocess.run(["bash", "-n", ROOT / "tools" / "system-packages.sh"], check=True)
