"""A synthetic torso: analytic organs in patient coordinates (LPS, mm), varied by a seed. Nobody's anatomy.

Where solids overlap, the one painted later wins (the order of `TISSUES`): the liver and the spleen push into the lungs,
kidneys and aorta into the fat around them, and so on. Each point therefore belongs to exactly one tissue; a label is a
set of tissues (the lesion is part of the liver, everything inside the skin is part of the body).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voxtell_dicom.model import BoolArray, Vector
from voxtell_dicom.phantom.shapes import Column, Ellipsoid, Lattice, Solid, vector

TISSUES = (
    "air", "skin", "muscle", "fat", "left lung", "right lung", "bowel", "spleen", "liver", "lesion",
    "left kidney", "right kidney", "aorta", "spine", "bladder",
)  # fmt: skip

LABELS: Mapping[str, frozenset[str]] = {
    "body": frozenset(TISSUES[1:]),
    "left lung": frozenset({"left lung"}),
    "right lung": frozenset({"right lung"}),
    "lungs": frozenset({"left lung", "right lung"}),
    "liver": frozenset({"liver", "lesion"}),
    "liver lesion": frozenset({"lesion"}),
    "spleen": frozenset({"spleen"}),
    "left kidney": frozenset({"left kidney"}),
    "right kidney": frozenset({"right kidney"}),
    "spine": frozenset({"spine"}),
    "aorta": frozenset({"aorta"}),
    "urinary bladder": frozenset({"bladder"}),
}


@dataclass(frozen=True)
class Organ:
    """One solid of one tissue."""

    tissue: str
    solid: Solid


@dataclass(frozen=True)
class Anatomy:
    """A torso: solids in painting order, the HU of each tissue, and the noise of the scanner (σ in HU).

    The first solid is the body: nothing is painted outside it.
    """

    seed: int
    organs: tuple[Organ, ...]
    hu: Mapping[str, float]
    noise_hu: float

    @property
    def body(self) -> Solid:
        """Everything inside the skin."""
        return self.organs[0].solid

    def tissues(self, lattice: Lattice) -> npt.NDArray[np.uint8]:
        """The tissue at each lattice point, as its index in TISSUES."""
        codes = np.zeros(lattice.shape, np.uint8)
        for organ in self.organs:
            part = lattice.within(organ.solid.box())
            if part is not None:
                inside = organ.solid.contains(*lattice.coordinates(part))
                if organ is not self.organs[0]:
                    inside &= codes[part] > 0
                codes[part][inside] = TISSUES.index(organ.tissue)
        return codes

    def sample(self, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
        """The tissue at arbitrary points (…, 3), as its index in TISSUES."""
        x, y, z = np.moveaxis(np.asarray(points_mm, dtype=np.float64), -1, 0)
        codes = np.zeros(x.shape, np.uint8)
        for organ in self.organs:
            inside = organ.solid.contains(x, y, z)
            if organ is not self.organs[0]:
                inside &= codes > 0
            codes[inside] = TISSUES.index(organ.tissue)
        return codes

    def mask(self, label: str, lattice: Lattice) -> BoolArray:
        """The points of a lattice that belong to a label of LABELS (KeyError for any other word)."""
        return label_mask(self.tissues(lattice), label)

    def hounsfield(self, codes: npt.NDArray[np.uint8], noise_seed: int = 0) -> npt.NDArray[np.float32]:
        """Return what a scanner would measure: the HU of each tissue, and noise. Not below −1024."""
        table = np.array([self.hu[tissue] for tissue in TISSUES], np.float32)
        noise = np.random.default_rng([self.seed, noise_seed]).standard_normal(codes.shape, np.float32)
        return np.maximum(table[codes] + noise * np.float32(self.noise_hu), np.float32(-1024.0))


def label_mask(codes: npt.NDArray[np.uint8], label: str) -> BoolArray:
    """The voxels of a tissue map that belong to a label."""
    member = np.array([tissue in LABELS[label] for tissue in TISSUES])
    mask: BoolArray = member[codes]
    return mask


def torso(seed: int) -> Anatomy:
    """The torso of a seed: the same for ever (changing it makes the committed weights and tests wrong)."""
    rng = np.random.default_rng([20261124, seed])
    scale = rng.uniform(0.94, 1.06)
    shift = rng.uniform(-12.0, 12.0, 3)  # where the patient lies on the table

    def place(center: Vector, wander_mm: float = 4.0) -> Vector:
        return vector(np.asarray(center) * scale + shift + rng.uniform(-wander_mm, wander_mm, 3))

    def size(semi: Vector, spread: float = 0.08) -> Vector:
        return vector(np.asarray(semi) * scale * rng.uniform(1 - spread, 1 + spread, 3))

    def turn(largest_deg: float) -> Vector:
        return vector(rng.uniform(-largest_deg, largest_deg, 3))

    skin = Column(place((0, 0, 0), 0.0), size((130, 96, 136), 0.04), roundness=8)
    spine_center, spine_bend = place((0, 56, 0), 2.0), float(rng.uniform(3, 8))
    spine = Column(spine_center, size((18, 15, 116)), (float(rng.uniform(-3, 3)), spine_bend), 300.0, 0.08, 28.0)
    processes = Column(
        vector(np.asarray(spine_center) + np.array((0, 17 * scale, -2))),
        size((5, 11, 110)),
        (0.0, spine_bend),
        300.0,
        0.15,
        28.0,
    )
    aorta = Column(place((11, 27, 20), 2.0), size((11, 11, 66)), (0.0, spine_bend), 300.0, roundness=8)
    liver = Ellipsoid(place((-54, -6, 6)), size((56, 60, 46)), turn(8))
    left_lobe = Ellipsoid(
        vector(np.asarray(liver.center_mm) + np.array((50, -26, 16)) * scale), size((46, 34, 25)), turn(8)
    )
    right_kidney = Ellipsoid(place((-56, 48, -34)), size((21, 17, 36)), turn(12))
    organs = [
        Organ("skin", skin),
        Organ("muscle", skin.shrunk(float(rng.uniform(5, 9)))),
        Organ("fat", skin.shrunk(float(rng.uniform(13, 18)))),
        Organ("right lung", Ellipsoid(place((-58, 0, 62)), size((42, 66, 58)), turn(5))),
        Organ("left lung", Ellipsoid(place((58, 2, 66)), size((38, 62, 54)), turn(5))),
        Organ("bowel", Ellipsoid(place((25, -38, -40), 14.0), size((26, 20, 18), 0.25), turn(40))),
        Organ("bowel", Ellipsoid(place((-25, -30, -62), 12.0), size((22, 18, 16), 0.25), turn(40))),
        Organ("spleen", Ellipsoid(place((80, 28, 14)), size((25, 36, 32)), turn(15))),
        Organ("liver", liver),
        Organ("liver", left_lobe),
        Organ("lesion", _lesion(rng, liver, right_kidney)),
        Organ("left kidney", Ellipsoid(place((58, 48, -26)), size((21, 17, 36)), turn(12))),
        Organ("right kidney", right_kidney),
        Organ("aorta", aorta),
        Organ("spine", processes),
        Organ("spine", spine),
        Organ("bladder", Ellipsoid(place((0, -14, -96)), size((34, 28, 25), 0.15), turn(10))),
    ]
    return Anatomy(seed, tuple(organs), hounsfield_units(rng), float(rng.uniform(8, 18)))


def hounsfield_units(rng: np.random.Generator) -> dict[str, float]:
    """HU of each tissue: a portal-venous CT with a filled bladder and a strongly enhancing liver lesion."""
    ranges = {
        "air": (-1000, -1000), "skin": (-110, -80), "muscle": (40, 70), "fat": (-110, -70),
        "left lung": (-870, -780), "right lung": (-870, -780), "bowel": (10, 50), "spleen": (110, 150),
        "liver": (85, 125), "left kidney": (160, 210), "right kidney": (160, 210), "aorta": (170, 240),
        "spine": (450, 600),
    }  # fmt: skip
    hu = {tissue: float(rng.uniform(low, high)) for tissue, (low, high) in ranges.items()}
    hu["right lung"] = hu["left lung"]
    hu["right kidney"] = hu["left kidney"]
    hu["lesion"] = hu["liver"] + float(rng.uniform(180, 320))
    hu["bladder"] = float(rng.uniform(0, 15)) + float(rng.uniform(220, 380))
    return hu


def _lesion(rng: np.random.Generator, liver: Ellipsoid, kidney: Ellipsoid) -> Ellipsoid:
    """A nearly round lesion (radius 12–22 mm) that lies whole in the right lobe and clear of the kidney."""
    radius = float(rng.uniform(12, 22))
    semi = vector(radius * rng.uniform(0.9, 1.1, 3))
    room = np.asarray(liver.semi_mm) - max(semi) - 4.0
    low, high = (np.asarray(corner) for corner in kidney.box())
    while True:
        offset = rng.uniform(-1.0, 1.0, 3)
        if (offset**2).sum() > 1.0:
            continue
        center = np.asarray(liver.center_mm) + offset * room
        gap = np.maximum(low - center, 0) + np.maximum(center - high, 0)
        if (gap**2).sum() > (max(semi) + 3.0) ** 2:
            return Ellipsoid(vector(center), semi)
