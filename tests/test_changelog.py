"""Each version has an entry in CHANGELOG.md, and what is built is either a release or a version before the next."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise

from packaging.version import Version

from tests.test_repository import ROOT
from voxtell_dicom import __version__

HEADING = re.compile(r"^## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d\d-\d\d))?$", re.MULTILINE)


def problems(text: str, version: str) -> list[str]:
    """Return what is wrong with a changelog, held against the version that is built."""
    headings = re.findall(r"^## .*$", text, re.MULTILINE)
    matches = [HEADING.fullmatch(heading) for heading in headings]
    found = [f"no heading of a version: {line}" for line, match in zip(headings, matches, strict=True) if not match]
    names = [match["version"] for match in matches if match]
    undated = [match["version"] for match in matches if match and not match["date"]]
    if undated not in ([], ["Unreleased"]):
        found.append(f"without a date: {undated}")
    released = [Version(name) for name in names if name != "Unreleased"]
    found += [f"{later} stands below {earlier}" for earlier, later in pairwise(released) if later >= earlier]
    sections = dict(zip(names, HEADING.split(text)[3::3], strict=True)) if len(names) == len(headings) else {}
    found += [f"{name}: no entry" for name, section in sections.items() if name != "Unreleased" and not section.strip()]
    pending = bool(sections.get("Unreleased", "").strip())
    built = Version(version)
    if built.is_prerelease and (not pending or released[:1] >= [built]):
        found.append(f"{version} is before a release: it needs an entry under Unreleased, and no later release")
    if not built.is_prerelease and (pending or released[:1] != [built]):
        found.append(f"{version} is a release: it needs the first dated heading, and nothing under Unreleased")
    return found


def test_changelog_fits_the_version() -> None:
    assert problems((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), __version__) == []


def test_each_tag_has_an_entry() -> None:
    tags = subprocess.run(["git", "tag", "--list", "v*"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = {found["version"] for found in HEADING.finditer((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))}
    assert {tag.removeprefix("v") for tag in tags.stdout.split()} <= names


def test_what_the_check_finds() -> None:
    """The check itself, on changelogs that are right and wrong."""
    new, old = "## [Unreleased]\n\n- new\n\n", "## [0.1.0] - 2026-11-25\n\n- first\n"
    release = "## [0.2.0] - 2026-12-01\n\n- new\n\n"
    assert problems(new + old, "0.2.0a1") == problems(release + old, "0.2.0") == problems(old, "0.1.0") == []
    for text, version in (
        (new + old, "0.1.0"),  # the released version again, with other content
        (new + old, "0.2.0"),  # a release without a heading
        (new + release + old, "0.2.0a1"),  # older than what is released
        (old, "0.2.0a1"),  # nothing new
        (old + release, "0.2.0"),  # in the wrong order
        ("## [0.2.0]\n\n- new\n\n" + old, "0.2.0"),  # without a date
        ("## [0.2.0] - 2026-12-01\n\n" + old, "0.2.0"),  # empty
        ("## Version 0.2.0\n\n- new\n\n" + old, "0.2.0"),
    ):
        assert problems(text, version), (text, version)
