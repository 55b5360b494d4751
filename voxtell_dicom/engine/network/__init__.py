"""VoxTell's network, written from its description: parameters named as in official checkpoints."""

from voxtell_dicom.engine.network.sizes import Sizes
from voxtell_dicom.engine.network.voxtell import VoxTellNetwork

__all__ = ["Sizes", "VoxTellNetwork"]
