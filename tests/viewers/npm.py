"""What the viewer tests take from the npm registry: two packages, pinned by version and digest, unpacked into ./.venv.

`npm pack` alone: the viewer comes ready-built and Playwright's core needs nothing else, so there is no node_modules,
no install script and no browser download. `python -m tests.viewers.npm` fetches both (the Makefile does so before the
tests); a test that finds them absent fetches them itself.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".venv" / "npm"
OHIF = ("@ohif/app", "3.13.2")
PLAYWRIGHT = ("playwright-core", "1.60.0")  # runs on Node.js 18, which is Debian 12's
SHA512 = {
    OHIF: "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
    PLAYWRIGHT: "9bW6zvX/m0lEbgTKJ6YppOKx8H3VOPBMOCFh2irXFOT4BbHgrx5hPjwJYLT40Lu+4qtD36qKc/Hn56StUW57IA==",
}


def package(name: str, version: str) -> Path:
    """The folder of an unpacked package, fetched at first use.

    Raises RuntimeError where npm cannot fetch it, or where it is not the package that was pinned.
    """
    folder = CACHE / f"{name.replace('/', '+')}-{version}"
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            _unpack(_pack(name, version, Path(scratch)), Path(scratch))
            try:
                (Path(scratch) / "package").rename(folder)
            except OSError:  # another process was faster
                if not folder.is_dir():
                    raise
    return folder


def _pack(name: str, version: str, scratch: Path) -> Path:
    command = ["npm", "pack", "--silent", "--pack-destination", str(scratch), f"{name}@{version}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    except FileNotFoundError as error:
        raise RuntimeError("the viewer tests need npm and Node.js 18 or newer (Debian: apt-get install npm)") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    (archive,) = scratch.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512[name, version]:
        raise RuntimeError(f"{name}@{version} is not the package that was pinned: its SHA-512 is {digest}")
    return archive


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        wanted = [item for item in content.getmembers() if not item.name.endswith(".map")]  # a fifth of the viewer
        content.extractall(folder, wanted, filter="data")


if __name__ == "__main__":
    for each in (OHIF, PLAYWRIGHT):
        package(*each)
