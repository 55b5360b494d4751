"""What a peer takes of segmentations and structure sets, and the form of each segmentation that follows.

The reasons stand in docs/viewers.md. A profile is a peer's `profile` in node.yaml with the switches that stand beside
it. A form is what one object becomes: peers whose forms are the same get the very same object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from voxtell_dicom.config import Config, Peer
from voxtell_dicom.model import Plan

SEGMENTATIONS: Final = ("seg", "labelmap", "fractional")  # of a plan's outputs, those that are segmentation objects
KIND: Final = {"binary": "seg", "occupancy": "seg", "labelmap": "labelmap", "fractional": "fractional"}


@dataclass(frozen=True)
class Profile:
    """The switches of `config.Peer`, with what they are for a peer that sets none."""

    encoding: str = "binary"
    transfer_syntax: str = "auto"
    empty_frames: bool = False
    segments_per_object: str = "all"
    frames_per_object: int | None = None
    holes: str = ""  # of structure sets: a method of `rtstruct.HOLES`, "" for the rule's
    fallback: tuple[str, ...] = ()


PROFILES: Final[Mapping[str, Profile]] = {
    "generic": Profile(),
    "ohif": Profile(encoding="aligned", segments_per_object="disjoint", holes="keyhole", fallback=("native",)),
    "weasis": Profile(frames_per_object=400, holes="keyhole"),
    "slicer": Profile(holes="keyhole"),
}


def profile_of(peer: Peer | None) -> Profile:
    """The profile that a peer names, with its own switches. None (a peer that is gone from node.yaml): generic."""
    if peer is None:
        return Profile()
    own = {name: getattr(peer, name) for name in Profile.__dataclass_fields__}
    if own["fallback"] is not None:
        own["fallback"] = tuple(own["fallback"])
    profile = replace(PROFILES[peer.profile], **{name: value for name, value in own.items() if value is not None})
    return replace(profile, frames_per_object=profile.frames_per_object or None)


def takers(plan: Plan, config: Config) -> dict[Profile, tuple[str, ...]]:
    """The profiles of the peers that a plan sends to, each with its peers; the generic one where it sends to none."""
    found: dict[Profile, tuple[str, ...]] = {}
    for name in plan.send_to:
        profile = profile_of(config.peers.get(name))
        found[profile] = (*found.get(profile, ()), name)
    return found or {Profile(): ()}


@dataclass(frozen=True)
class Form:
    """How a segmentation is written. `encoding`: binary, occupancy (0 or 255), fractional or labelmap."""

    encoding: str = "binary"
    transfer_syntax: str = "native"  # or rle, deflated
    empty_frames: bool = False
    together: str = "all"  # of the segments, in an object; or one, or disjoint: those that do not overlap
    frames: int | None = None  # at most so many in an object of several segments

    @property
    def kind(self) -> str:
        """The output that it is: seg, labelmap or fractional."""
        return KIND[self.encoding]

    @property
    def tag(self) -> str:
        """Its name in the UIDs: "generic" for what a generic peer gets of that kind."""
        usual = Form(self.encoding, _usual_syntax(self.encoding))
        if self == usual and self.encoding != "occupancy":
            return "generic"
        words = [self.encoding, self.transfer_syntax]
        words += ["empty frames"] * self.empty_frames
        words += ["one segment" if self.together == "one" else "disjoint segments"] * (self.together != "all")
        words += [f"{self.frames} frames"] * (self.frames is not None)
        return ", ".join(words)


GENERIC: Final = Form()


def form_of(output: str, profile: Profile, matrix: tuple[int, int]) -> Form:
    """Return what `output` (one of SEGMENTATIONS) becomes for peers of a profile. matrix: rows, columns."""
    encoding = output
    if output == "seg":
        encoding = profile.encoding
        if encoding == "aligned":
            encoding = "occupancy" if matrix[0] * matrix[1] % 8 else "binary"
    syntax = profile.transfer_syntax
    if syntax == "auto" or (syntax == "rle" and encoding == "binary"):  # one bit a pixel takes no RLE (PS3.5 Annex G)
        syntax = _usual_syntax(encoding)
    together = profile.segments_per_object
    return Form(encoding, syntax, profile.empty_frames, together, profile.frames_per_object)


def forms_of(outputs: Sequence[str], profile: Profile, matrix: tuple[int, int]) -> list[Form]:
    """The forms of all segmentations among a plan's outputs, each once, in the order of SEGMENTATIONS."""
    wanted = [output for output in SEGMENTATIONS if output in outputs or (output == "seg" and "sr" in outputs)]
    return list(dict.fromkeys(form_of(output, profile, matrix) for output in wanted))


def fallback_form(word: str, kind: str, profile: Profile, matrix: tuple[int, int]) -> Form:
    """Return what stands in the place of a refused segmentation of `kind`; word: native, or one of SEGMENTATIONS."""
    output = kind if word == "native" else word
    if output == "seg" and KIND[form_of("seg", profile, matrix).encoding] != "seg":
        profile = replace(profile, encoding="binary")
    form = form_of(output, profile, matrix)
    return replace(form, transfer_syntax="native") if word == "native" else form


def _usual_syntax(encoding: str) -> str:
    return "native" if encoding == "binary" else "rle"
