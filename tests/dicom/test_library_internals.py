"""Test that private names of other libraries are imported in one place, which checks their versions."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pydicom
import pytest

import voxtell_dicom
from voxtell_dicom.dicom import library_internals

XML = """<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL"><Value number="1">http://x</Value></DicomAttribute>
</NativeDicomModel>"""


def test_the_registries_are_those_of_the_standard() -> None:
    assert library_internals.uid_of_keyword()["CTImageStorage"] == "1.2.840.10008.5.1.4.1.1.2"
    assert ("10200004", "SCT", "Liver") in list(library_internals.context_group(7192))
    assert len(list(library_internals.context_group(8134))) > 100
    assert library_internals.dataset_of_xml(ElementTree.fromstring(XML)).RetrieveURL == "http://x"


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pydicom, "__version__", "4.0.0")
    with pytest.raises(ImportError, match=r"pydicom 4\.0\.0 is not supported: 3\.x is needed"):
        importlib.reload(library_internals)
    monkeypatch.undo()
    importlib.reload(library_internals)


def test_no_other_module_imports_what_is_private() -> None:
    private = re.compile(
        r"^\s*(?:from|import) (?:pydicom|highdicom|dicomweb_client)[\w.]*(?:\._\w+| import .*\b_\w+)", re.M
    )
    folder = Path(voxtell_dicom.__file__).parent
    found = [path.name for path in folder.rglob("*.py") if private.search(path.read_text(encoding="utf-8"))]
    assert found == ["library_internals.py"]
