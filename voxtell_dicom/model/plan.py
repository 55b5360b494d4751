"""What a rule wants of a volume: prompts as they are resolved, and what is made of their masks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from voxtell_dicom.model.serial import canonical_digest
from voxtell_dicom.model.volume import Vector


@dataclass(frozen=True)
class Cleanup:
    """What is done to a mask after the network: applied in the order of the fields."""

    fill_holes: bool = False  # enclosed background, 6-connected, becomes mask
    largest_component: bool = False  # of 26-connected components, the one with most voxels is kept
    minimum_ml: float = 0.0  # smaller components are removed


@dataclass(frozen=True)
class Resampling:
    """Run the network at an isotropic spacing where an axis of the input is finer or coarser than the bounds."""

    spacing_mm: float
    finer_than_mm: float = 0.0
    coarser_than_mm: float | None = None

    def applies_to(self, spacing_mm: Vector) -> bool:
        """Return whether a volume of this spacing is resampled."""
        too_coarse = self.coarser_than_mm is not None and max(spacing_mm) > self.coarser_than_mm
        return min(spacing_mm) < self.finer_than_mm or too_coarse


@dataclass(frozen=True)
class Prompt:
    """A prompt as a rule resolves it: the text for the engine, and how the segment is shown."""

    text: str
    label: str
    color: str | None = None  # "#rrggbb"
    threshold: float = 0.5
    cleanup: Cleanup = Cleanup()
    exclusive_group: str = ""  # within its rule
    resampling: Resampling | None = None
    codes: str = ""  # what it is coded as, where the rule says it: other words, or JSON of config.Codes


@dataclass(frozen=True)
class PlanOptions:
    """Options that change the result beside the prompts, and facts of the series. Defaults are left out of the key."""

    version: int | None = None  # of the series' results: 2, 3 … where an older one was handed on
    supersedes: tuple[str, ...] = ()  # SOP Instance UIDs of delivered results that this one replaces
    incomplete: str = ""  # why the volume is thought to be incomplete
    probabilities: bool = False  # the result needs the probability of each voxel
    minimum_confidence: float | None = None  # segments of a smaller mean probability are left out
    values: str = "stored"  # what the model is given: "stored" (rescaled) or "suv" (SUVbw, g/mL)
    holes: str = "keyhole"  # how contours show holes
    outcome: str = ""  # of a receipt: the state of its job
    reasons: tuple[str, ...] = ()  # of a receipt: the sentences on it
    warnings: tuple[str, ...] = ()  # beside those of the volume
    correction: str = ""  # tells headers apart that were corrected before a result with the earlier ones was delivered
    format: int = 1  # of this value where it is stored; not part of the key

    def for_key(self) -> dict[str, Any]:
        """Return what enters the plan key: what differs from its default, as version 0.1 wrote it."""
        content = asdict(self)
        return {item.name: content[item.name] for item in fields(self)
                if item.name != "format" and content[item.name] != item.default}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What one rule wants of one volume. One plan makes one result per output kind (contracts § 1)."""

    volume_key: str
    rule: str
    rule_index: int  # position in node.yaml, from 0: part of the Series Number
    prompts: tuple[Prompt, ...]
    outputs: tuple[str, ...]
    send_to: tuple[str, ...]
    engine_identity: str
    encoder_revision: str
    options: PlanOptions = PlanOptions()
    run: int = 0  # grows with `jobs rerun`, hence new UIDs

    @cached_property
    def key(self) -> str:
        """The plan key: everything that decides the content of the result, nothing that does not (not the peers)."""
        content = asdict(self)
        content["options"] = self.options.for_key()
        for name in ("send_to", "rule_index"):
            del content[name]
        for prompt in content["prompts"]:
            if not prompt["codes"]:
                del prompt["codes"]  # as in the keys of plans from before there were any
        return canonical_digest(content)
