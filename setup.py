"""Put documentation, examples, JSON Schema and unit file into the wheel, as voxtell_dicom/share."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
SHARED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE", "Dockerfile"),
    *("docs", "config", "packaging", "benchmarks/RESULTS.md"),
)


class BuildWithShared(build_py):
    """Copy what SHARED names, in the folders of the repository, so that the links between the pages hold."""

    def run(self) -> None:
        """Build the package, then copy; an editable install reads the clone instead."""
        super().run()
        if self.editable_mode:
            return
        for name in SHARED:
            target = Path(self.build_lib, "voxtell_dicom", "share", name)
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, dirs_exist_ok=True)
            else:
                shutil.copy2(ROOT / name, target)


setup(cmdclass={"build_py": BuildWithShared})
