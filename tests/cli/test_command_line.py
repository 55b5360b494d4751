"""The command line as programs and people use it: quick, one line per error, exit codes by contracts § 9."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.json_page import assert_documented
from voxtell_dicom import __version__
from voxtell_dicom.cli import BAD_INPUT, COMMANDS, app
from voxtell_dicom.errors import ConfigError, EncodingError, VoxtellDicomError

HEAVY = ("torch", "pydicom", "highdicom", "pynetdicom", "SimpleITK", "dbos", "sqlalchemy", "fastapi", "transformers")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxtell_dicom", *arguments], capture_output=True, text=True, check=False
    )


def test_version_is_quick_and_documented() -> None:
    before = os.times()
    done = run("version", "--json")
    after = os.times()
    used_s = after.children_user + after.children_system - before.children_user - before.children_system
    assert used_s < 2  # 0.2 s, whatever else the machine does
    assert done.returncode == 0
    assert assert_documented("voxtell-dicom version", done.stdout)["pydicom"][0].isdigit()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom voxtell_dicom.cli import app\n"
        "for words in (['--help'], ['version']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_command_has_a_module_and_help() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    for name in COMMANDS:
        assert f" {name} " in shown, f"no command {name}"
        assert CliRunner().invoke(app, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    "words", [["vershun"], ["version", "--josn"], ["jobs", "lst"], ["rules", "explain", "/nowhere"]]
)
def test_wrong_usage_is_two(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert not done.stdout
    assert "Traceback" not in done.stderr


def test_wrong_file_is_two_and_one_line(tmp_path: Path) -> None:
    done = run("check", "-c", f"{tmp_path}/absent.yaml")
    assert done.returncode == 2
    assert done.stderr == f"voxtell-dicom: {tmp_path}/absent.yaml: cannot be read: No such file or directory\n"


def test_phantom_says_what_it_wrote(tmp_path: Path) -> None:
    done = run("phantom", str(tmp_path), "--json")
    report = assert_documented("voxtell-dicom phantom", done.stdout)
    assert len(list(Path(report["series"]).glob("*.dcm"))) == report["instances"]


def test_which_errors_are_bad_input() -> None:
    assert issubclass(ConfigError, BAD_INPUT)
    assert not issubclass(EncodingError, BAD_INPUT)
    assert not issubclass(VoxtellDicomError, BAD_INPUT)


def test_version_is_an_option_too() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"voxtell-dicom {__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["jobs", "lst"], "No such command 'lst'. Did you mean 'list'?; see `voxtell-dicom jobs -h`"),
        (["segment"], "Missing argument 'dicom_dir'; see `voxtell-dicom segment -h`"),
        (["serve", "--foo"], "No such option: --foo; see `voxtell-dicom serve -h`"),
        (["--foo"], "No such option: --foo; see `voxtell-dicom -h`"),
    ],
)
def test_wrong_usage_is_one_line_in_the_voice_of_all_errors(words: list[str], said: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stderr, done.stdout) == (2, f"voxtell-dicom: {said}\n", "")
