"""The wheel, not the clone: what is in it, that it runs, that its bundle installs, all without a network."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.operation.built import ENVIRONMENT, bare_environment, build, run, stand_ins
from tests.test_repository import LINK, ROOT, tracked
from voxtell_dicom import __version__

CODE = ("tests", "tools", "voxtell_dicom", ".ci")  # folders that pages may link to, and that are not in share/
NAMED = re.compile(r"\b((?:docs|config|packaging)/[\w./-]*\w)")


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def programs(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bare_environment(tmp_path_factory.mktemp("bare") / "venv", distributions[1])


@pytest.fixture(scope="module")
def shared(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    done = run([programs / "voxtell-dicom", "version", "--files"], tmp_path_factory.mktemp("elsewhere"))
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def test_it_has_no_network(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 5)"
    done = run([sys.executable, "-c", code], tmp_path)
    assert "Network is unreachable" in done.stderr


def test_demo_runs_from_the_wheel(programs: Path, tmp_path: Path) -> None:
    done = run([programs / "voxtell-dicom", "demo", "--json"], tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads(done.stdout)


def test_what_runs_is_the_wheel(programs: Path, shared: Path, tmp_path: Path) -> None:
    done = run([programs / "python", "-c", "import voxtell_dicom; print(voxtell_dicom.__file__)"], tmp_path)
    package = Path(done.stdout.strip()).parent
    assert package.is_relative_to(programs.parent)
    assert shared == package / "share"


def test_version_has_one_place(distributions: tuple[Path, Path], programs: Path, tmp_path: Path) -> None:
    code = "from importlib.metadata import version; print(version('voxtell-dicom'))"
    stated = run([programs / "python", "-c", code], tmp_path).stdout.strip()
    assert stated == __version__
    assert all(f"-{__version__}" in path.name for path in distributions)
    naming = [path for path in tracked() if path.name in ("pyproject.toml", "setup.py", "Makefile", "Dockerfile")]
    assert [path.name for path in naming if __version__ in path.read_text()] == []


def test_every_file_that_is_no_code_is_in_the_wheel(shared: Path) -> None:
    for folder in ("docs", "config", "packaging"):
        files = [path.relative_to(ROOT) for path in tracked() if path.is_relative_to(ROOT / folder)]
        assert files
        assert [str(name) for name in files if (ROOT / name).read_bytes() != (shared / name).read_bytes()] == []


def test_links_of_its_pages_lead_somewhere(shared: Path) -> None:
    broken = []
    for page in shared.rglob("*.md"):
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if "://" in target or target.startswith("mailto:") or path.exists():
                continue
            if path.relative_to(shared.resolve()).parts[0] not in CODE:
                broken.append(f"{page.relative_to(shared)}: {target}")
    assert broken == []


def test_files_that_commands_name_are_in_the_wheel(shared: Path) -> None:
    """In the code (help, messages), and in the unit file and the examples."""
    sources = [path for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "voxtell_dicom")]
    sources += [path for path in tracked() if path.is_relative_to(ROOT / "packaging")]
    named = {(path, name) for path in sources for name in NAMED.findall(path.read_text(encoding="utf-8"))}
    assert {name for _, name in named} >= {"docs/json.md", "packaging/voxtell-dicom.service"}
    missing = [f"{path.relative_to(ROOT)}: {name}" for path, name in named if not (shared / name).exists()]
    assert sorted(missing) == []


def test_examples_of_the_wheel_can_be_read(programs: Path, shared: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from voxtell_dicom.rules import load_config\n"
        "for path in sys.argv[1:]: load_config(Path(path))\n"
    )
    files = [shared / "config" / "node.yaml", *(shared / "config" / "examples").glob("*.yaml")]
    done = run([programs / "python", "-c", code, *files], tmp_path)
    assert (done.returncode, len(files) > 3) == (0, True), done.stderr


def test_twine_takes_both(distributions: tuple[Path, Path]) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *distributions]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2


def test_source_distribution_has_the_tests(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    wanted = {
        str(path.relative_to(ROOT)) for path in tracked() if path.relative_to(ROOT).parts[0] in ("tests", "tools")
    }
    assert sorted(wanted - names) == []


@pytest.fixture(scope="module")
def bundle(distributions: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked bundle, with stand-ins for what voxtell-dicom needs."""
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "needed").mkdir()
    stand_ins(folder / "needed")
    command = [sys.executable, ROOT / "tools" / "bundle.py", distributions[1]]
    command += ["--wheels", folder / "needed", "--out", folder / "out"]
    subprocess.run(command, env=ENVIRONMENT, check=True, capture_output=True)
    (packed,) = (folder / "out").glob("*.tar")
    with tarfile.open(packed) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


def test_bundle_installs_without_a_network(bundle: Path, tmp_path: Path) -> None:
    installer = run(["env", f"PYTHON={sys.executable}", bundle / "install.sh", tmp_path / "opt"], tmp_path)
    assert installer.returncode == 0, installer.stdout + installer.stderr
    assert f"voxtell-dicom {__version__}" in installer.stdout
    assert (tmp_path / "opt" / "share" / "docs" / "administrator.md").is_file()
    done = run([tmp_path / "opt" / ".venv" / "bin" / "voxtell-dicom", "terms", "liver", "--json"], tmp_path)
    assert done.returncode == 0, done.stderr
    (site,) = (tmp_path / "opt" / ".venv" / "lib").glob("python*/site-packages")
    installed = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    wheels = {path.name.partition("-")[0].lower() for path in (bundle / "wheels").glob("*.whl")}
    assert wheels - installed == set()
    assert "torch" in installed


def test_bundle_that_was_changed_is_refused(bundle: Path, tmp_path: Path) -> None:
    changed = next((bundle / "wheels").glob("numpy-*.whl"))
    content = changed.read_bytes()
    try:
        changed.write_bytes(content[:-1])
        done = run(["env", f"PYTHON={sys.executable}", bundle / "install.sh", tmp_path / "opt"], tmp_path)
    finally:
        changed.write_bytes(content)
    assert done.returncode != 0
    assert changed.name in done.stdout + done.stderr
    assert not (tmp_path / "opt").exists()


def test_bundle_says_beforehand_how_large_it_is() -> None:
    """Where somebody decides: the script that fetches, the guide, the README's first commands."""
    for name in ("tools/bundle.py", "docs/administrator.md", "README.md", "Makefile"):
        assert "6.7 GB" in (ROOT / name).read_text(encoding="utf-8"), name
    assert "download.pytorch.org/whl/cpu" in (ROOT / "docs" / "administrator.md").read_text(encoding="utf-8")


def test_wheel_is_small(distributions: tuple[Path, Path]) -> None:
    """No compiled file, no cache, no data of a test travels along."""
    names = zipfile.ZipFile(distributions[1]).namelist()
    assert [name for name in names if re.search(r"__pycache__|\.pyc$|(^|/)tests/", name)] == []
    assert distributions[1].stat().st_size < 15e6
