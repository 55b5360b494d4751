"""Who made a result, and under which UIDs: contracts § 1, the equipment modules, the algorithm.

UIDs are made from what decides a result's content: the same plan always names the same object (PS3.5 B.2, ``2.25.``).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib.metadata import version

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

import voxtell_dicom
from voxtell_dicom.dicom.identity import made_uid
from voxtell_dicom.dicom.own_objects import MANUFACTURER
from voxtell_dicom.dicom.source_text import EQUIPMENT
from voxtell_dicom.model import Plan

TEST_MARK = "TEST - NOT FOR PATIENTS"


def result_uid(plan: Plan, kind: str, profile: str = "generic", ordinal: int = 1) -> UID:
    """SOP Instance UID of a result: from plan key, output kind, peer profile and ordinal."""
    return made_uid("instance", plan.key, kind, profile, ordinal)


def result_series_uid(plan: Plan, source_series_uid: str, kind: str, profile: str = "generic", ordinal: int = 1) -> UID:
    """Series Instance UID of a result: from source series, volume, rule, kind, profile, ordinal and run.

    The plan key takes part, so that a newer version of a source series does not add to the series of the older one.
    """
    more = () if ordinal == 1 else (ordinal,)
    return made_uid("series", source_series_uid, plan.rule, kind, profile, plan.run, plan.key, *more)


def tracking_uid(plan: Plan, index: int) -> UID:
    """Tracking UID of the segment of prompt `index`: shared by every object that speaks of it."""
    return made_uid("tracking", plan.key, index, plan.prompts[index].text)


def tracking_id(plan: Plan, index: int) -> str:
    """Tracking ID, the human-readable partner of `tracking_uid`: unique within a plan."""
    return f"{plan.rule}: {plan.prompts[index].text} (#{index + 1})"


@dataclass(frozen=True)
class Maker:
    """The program that made a result: `name` is VoxTell, phantom or threshold; `identity` is the engine's own."""

    name: str
    identity: str

    @property
    def test(self) -> bool:
        """Return whether results must say TEST - NOT FOR PATIENTS."""
        return self.name != "VoxTell"

    @property
    def model_digest(self) -> str:
        """The digest of the weights as the engine's identity gives it, "" where it has none."""
        match = re.search(r"model/([0-9a-fA-F]+)", self.identity)
        return match.group(1) if match else ""

    @property
    def version(self) -> str:
        """Version of code and model, at most 64 characters; the whole digest goes into Algorithm Parameters."""
        digest = self.model_digest
        return f"{voxtell_dicom.__version__}+{digest[:12]}" if digest else voxtell_dicom.__version__

    @property
    def device_uid(self) -> UID:
        """Device UID (0018,1002): another one for each other engine, model or code (IHE AIR)."""
        return made_uid("device", self.identity)

    @property
    def device_serial_number(self) -> str:
        """Device Serial Number: there is no hardware, so it names the engine in use."""
        return hashlib.sha256(self.identity.encode()).hexdigest()[:16]

    @property
    def software_versions(self) -> list[str]:
        """Software Versions (0018,1020): ours, the algorithm's, the library's that built the object."""
        return [
            f"voxtell-dicom {voxtell_dicom.__version__}",
            f"{self.name} {self.version}"[:64],
            f"highdicom {version('highdicom')}",
        ]


def maker_of(plan: Plan, engine: str | None = None) -> Maker:
    """Who made the plan's masks. `engine`: "phantom" or "threshold" where node.yaml says so, else by the identity."""
    name = engine or next(
        (word for word in ("threshold", "phantom") if word in plan.engine_identity.lower()), "VoxTell"
    )
    return Maker(name, plan.engine_identity)


def write_equipment(ds: Dataset, maker: Maker) -> None:
    """General and Enhanced General Equipment (PS3.3 C.7.5.1, C.7.5.2)."""
    ds.Manufacturer = MANUFACTURER
    ds.ManufacturerModelName = maker.name
    ds.DeviceSerialNumber = maker.device_serial_number
    ds.SoftwareVersions = maker.software_versions
    ds.DeviceUID = maker.device_uid


def contributing_equipment(maker: Maker, source: Dataset, when: str) -> list[Dataset]:
    """Items of Contributing Equipment Sequence (PS3.3 C.12.1.1.5): the algorithm, and what acquired the source."""
    algorithm = Dataset()
    write_equipment(algorithm, maker)
    algorithm.ContributionDateTime = when
    algorithm.ContributionDescription = "Segmentation from a text prompt" + (f", {TEST_MARK}" if maker.test else "")
    algorithm.PurposeOfReferenceCodeSequence = Sequence([_code("109102", "Processing Equipment")])
    items = [algorithm]
    if source.get("Manufacturer"):
        scanner = Dataset()
        for keyword in EQUIPMENT:
            if source.get(keyword):
                scanner[keyword] = source[keyword]
        scanner.PurposeOfReferenceCodeSequence = Sequence([_code("109101", "Acquisition Equipment")])
        items.append(scanner)
    return items


def algorithm_identification(plan: Plan, maker: Maker, threshold: float | None = None) -> Dataset:
    """Algorithm Identification (PS3.3 10.16): the whole model digest stands in Algorithm Parameters."""
    item = Dataset()
    item.AlgorithmFamilyCodeSequence = Sequence([_code("123110", "Artificial Intelligence")])
    item.AlgorithmName = maker.name
    item.AlgorithmVersion = maker.version
    parameters = {
        "engine": maker.identity,
        "model_digest": maker.model_digest,
        "encoder": plan.encoder_revision,
        "plan": plan.key,
        "threshold": "" if threshold is None else str(threshold),
    }
    item.AlgorithmParameters = "\r\n".join(f"{name}={value}" for name, value in parameters.items() if value)
    item.AlgorithmSource = MANUFACTURER
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
