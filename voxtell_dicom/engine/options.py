"""What may be asked of an engine beside its model: each option is off, or exact, unless somebody turns it on."""

from __future__ import annotations

from dataclasses import dataclass

from voxtell_dicom.engine.windows import STEP
from voxtell_dicom.errors import ModelError


@dataclass(frozen=True)
class Options:
    """docs/engine.md says what each is worth, and how far its masks agree with those without it.

    exact: the plain image decoder, prompt by prompt, as the official package computes; slower.
    bfloat16: on a CPU with AVX-512 BF16, the image decoder in half the width.
    step: between windows, as a share of the patch; fewer windows where it is larger.
    skip_empty: leave out windows without a voxel of the body.
    crop_to_body: lay the windows over the body's box only.
    """

    exact: bool = False
    bfloat16: bool = False
    step: float = STEP
    skip_empty: bool = False
    crop_to_body: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise ModelError(f"step must be above 0 and at most 1, a share of the patch, not {self.step}")

    @property
    def in_identity(self) -> str:
        """Words for the engine's identity: what changes masks must change it, hence the UIDs of results."""
        words = [name for name in ("bfloat16", "skip_empty", "crop_to_body") if getattr(self, name)]
        return "".join(f" {word}" for word in ([f"step/{self.step:g}"] if self.step != STEP else []) + words)


DEFAULT = Options()
