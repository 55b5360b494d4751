"""Context that the outputs of one plan share: masks, source headers, identity, and the folder for objects."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from voxtell_dicom.dicom.headers import HeaderSource
from voxtell_dicom.dicom.source_text import is_ascii
from voxtell_dicom.encode.common import objects, provenance, words
from voxtell_dicom.encode.common.frame_values import USERS, FrameValues
from voxtell_dicom.encode.common.objects import Identity
from voxtell_dicom.encode.common.part10 import write_once
from voxtell_dicom.encode.common.sources import Sources, newest_path, read_sources
from voxtell_dicom.files import sha256_of
from voxtell_dicom.model import Found, Plan, Result, Volume

ASCII_WORDS = (
    "labels and descriptions are written in ASCII: Specific Character Set (0008,0005) of the source cannot hold them, "
    "and the patient's text is not encoded anew"
)


@dataclass(frozen=True)
class OutputContext:
    """The input of all outputs of a plan.

    found: one per prompt of the plan, in that order, masks on the source grid (frame, row, column). directory: where
    objects are written. engine: `model.engine` of node.yaml, for the test mark. headers: of the source instances.
    arrays: see `FrameValues`.
    """

    plan: Plan
    volume: Volume
    found: Sequence[Found]
    directory: Path
    series_number_base: int = 1000
    engine: str | None = None
    headers: HeaderSource = field(default_factory=HeaderSource)
    arrays: Sequence[Path] = ()

    @cached_property
    def maker(self) -> provenance.Maker:
        """The program and the model that made the masks."""
        return provenance.maker_of(self.plan, self.engine)

    @cached_property
    def shown(self) -> tuple[tuple[int, Found], ...]:
        """Return the found segments that have voxels, each with the index of its prompt in the plan."""
        return tuple((index, item) for index, item in enumerate(self.found) if item.mask.voxels)

    def description(self, kind: str) -> str:
        """Return the Series Description of a result of the plan."""
        return objects.describe(self.plan, self.maker, self.volume, self.found, kind)

    @cached_property
    def remarks(self) -> str:
        """See `objects.remarks`."""
        return objects.remarks(self.plan, self.volume, self.found)

    @cached_property
    def frames(self) -> FrameValues:
        """The values of the source frames."""
        shared = len(USERS & set(self.plan.outputs)) > 1
        return FrameValues(self.volume, self.headers, shared, self.arrays)

    @cached_property
    def _newest(self) -> Path:
        return newest_path(self.volume)

    @cached_property
    def text(self) -> Dataset:
        """Return what results repeat of the newest source instance, undecoded: see `source_text`."""
        return self.headers.text(self._newest)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Return the volume's warnings, and one where our words do not fit the character set of the source."""
        charset = self.headers(self._newest).get("SpecificCharacterSet")
        texts = [self.plan.rule, *(prompt.label + prompt.text for prompt in self.plan.prompts)]
        if is_ascii(self.text) or words.holds(charset, "".join(texts)):
            return self.volume.warnings
        return (*self.volume.warnings, ASCII_WORDS)

    def sources(self) -> Sources:
        """Return the source headers, the newest as a copy of its own. Raises as `read_sources`."""
        return read_sources(self.volume, self.headers)

    def path(self, kind: str, ordinal: int = 1, profile: str = "generic") -> Path:
        """Return where an object is written."""
        return self.directory / f"{provenance.result_uid(self.plan, kind, profile, ordinal)}.dcm"

    def identity(
        self, kind: str, header: Dataset, texts: Sequence[str] = (), ordinal: int = 1, profile: str = "generic"
    ) -> Identity:
        """Return what `objects.identify` writes into an object. texts: those that its character set must hold."""
        return Identity(
            plan=self.plan,
            maker=self.maker,
            source=self.volume,
            header=header,
            text=self.text,
            kind=kind,
            description=self.description(kind),
            series_number_base=self.series_number_base,
            texts=tuple(texts),
            ordinal=ordinal,
            profile=profile,
            remarks=self.remarks,
        )

    def existing(self, kind: str, path: Path) -> Result | None:
        """Return the Result of an object that was written before, None where there is none."""
        if not path.exists():
            return None
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        return self.with_labels(objects.result_of(ds, kind, path, sha256_of(path)))

    def write(
        self,
        ds: Dataset,
        kind: str,
        path: Path,
        tail: Iterable[bytes] = (),
        transfer_syntax: UID = ExplicitVRLittleEndian,
    ) -> Result:
        """Write an object once; tail: encoded elements whose tags come after all of `ds`."""
        digest = write_once(path, ds, tail, text=self.text, transfer_syntax=transfer_syntax)
        return self.with_labels(objects.result_of(ds, kind, path, digest))

    def with_labels(self, result: Result) -> Result:
        """Return the Result with the labels of what was found and what was not, and the volume's warnings."""
        return replace(
            result,
            labels=tuple(item.prompt.label for _, item in self.shown),
            empty=tuple(item.prompt.label for item in self.found if not item.mask.voxels),
            warnings=self.warnings,
        )
