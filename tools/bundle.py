"""Make the offline bundle: all wheels, their checksums and one script that installs them without a network.

    python tools/bundle.py dist/voxtell_dicom-*.whl [--wheels FOLDER] [--out dist]

Without --wheels pip fetches what the wheel needs. The bundle is for the Python and the machine that it is made on.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = f"{sys.version_info[0]} {sys.version_info[1]} {platform.machine()}"
SIZES = """\
pip fetches what voxtell-dicom needs. With PyTorch's CUDA build (what PyPI has for Linux) that is 6.7 GB installed.
For a machine without a GPU take the CPU build, 2.3 GB installed, 0.5 GB as a bundle:
    make bundle PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
"""


def fetch(wheel: Path, folder: Path) -> None:
    """Collect the wheel and all that it needs as wheels in a folder; source distributions are built."""
    print(SIZES, flush=True)
    what = f"{wheel}[postgresql]"
    constraints = ROOT / "constraints.txt"
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "-c", constraints, "-w", folder, what], check=True)


def installed_mb(wheels: Path) -> int:
    """Return the size of what the wheels hold, in MB, and three tenths for compiled files and blocks of the disk."""
    sizes = [item.file_size for path in wheels.glob("*.whl") for item in zipfile.ZipFile(path).infolist()]
    return round(1.3 * sum(sizes) / 1e6) + 50


def checksums(folder: Path) -> str:
    """Return the lines of SHA256SUMS for all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return "".join(f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def bundle(wheel: Path, wheels: Path | None, out: Path) -> Path:
    """Write OUT/voxtell-dicom-VERSION-offline-….tar and return its path. It has one folder of the same name."""
    version = wheel.name.split("-")[1]
    name = f"voxtell-dicom-{version}-offline-py{PYTHON.replace(' ', '', 1).replace(' ', '-')}"
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wheels").mkdir(parents=True)
    if wheels is None:
        fetch(wheel, folder / "wheels")
    else:
        for path in (wheel, *wheels.glob("*.whl")):
            shutil.copy2(path, folder / "wheels" / path.name)
    script = (ROOT / "packaging" / "offline" / "install.sh").read_text(encoding="utf-8")
    values = {"@VERSION@": version, "@PYTHON@": PYTHON, "@MB@": str(installed_mb(folder / "wheels"))}
    for word, value in values.items():
        script = script.replace(word, value)
    (folder / "install.sh").write_text(script, encoding="utf-8")
    (folder / "install.sh").chmod(0o755)
    shutil.copy2(ROOT / "LICENSE", folder)
    (folder / "SHA256SUMS").write_text(checksums(folder), encoding="utf-8")
    target = out / f"{name}.tar"
    with tarfile.open(target, "w") as tar:  # wheels are compressed already
        tar.add(folder, name)
    shutil.rmtree(folder)
    return target


def main() -> None:
    """Make the bundle that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the wheel of voxtell-dicom")
    parser.add_argument("--wheels", type=Path, help="a folder with the wheels that it needs; default: pip fetches them")
    parser.add_argument("--out", type=Path, default=Path("dist"), help="where the bundle goes")
    arguments = parser.parse_args()
    made = bundle(arguments.wheel, arguments.wheels, arguments.out)
    print(f"{made}: {made.stat().st_size / 1e6:.0f} MB")
    print("On the other machine: tar -xf it, then ./install.sh [FOLDER] (default /opt/voxtell-dicom)")


if __name__ == "__main__":
    main()
