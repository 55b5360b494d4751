"""Private names of pydicom and dicomweb-client that we need: the only place that imports them.

A version of pydicom that was not tried is refused when this module is imported, rather than read wrongly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from xml.etree.ElementTree import Element

import pydicom
from pydicom._uid_dict import UID_dictionary
from pydicom.dataset import Dataset
from pydicom.sr._cid_dict import cid_concepts
from pydicom.sr._concepts_dict import concepts

MAJOR_VERSION = "3."

if not pydicom.__version__.startswith(MAJOR_VERSION):
    raise ImportError(f"pydicom {pydicom.__version__} is not supported: {MAJOR_VERSION}x is needed")


@cache
def uid_of_keyword() -> Mapping[str, str]:
    """Return the UIDs of the standard's registry by keyword (PS3.6 annex A)."""
    return {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[4]}


def context_group(cid: int) -> Iterator[tuple[str, str, str]]:
    """Yield value, coding scheme and meaning of each member of a context group (PS3.16 annex B), in its order.

    `pydicom.sr.codedict.codes` raises for groups in which two schemes have one keyword (CID 8134).
    """
    for scheme, names in cid_concepts[cid].items():
        members: Any = concepts[scheme]
        for name in names:
            value, (meaning, _) = next(iter(members[name].items()))
            yield value, scheme, meaning


def write_undecoded(ds: Dataset, *, implicit: bool) -> None:
    """Have pydicom write the undecoded elements of a dataset as they are, in Little Endian.

    It decodes them otherwise: where the character set is not known to be the one they were read in.
    """
    ds.set_original_encoding(implicit, True, ds._character_set)


def dataset_of_xml(root: Element) -> Dataset:
    """Return the dataset of a Native DICOM Model (PS3.19 A.1): pydicom reads JSON only."""
    from dicomweb_client.web import _load_xml_dataset  # here: not every process that reads DICOM talks to a web server

    found: Dataset = _load_xml_dataset(root)
    return found
