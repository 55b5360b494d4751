"""Which decoder pydicom takes for which transfer syntax. Whoever decodes gets it from here.

One for each, and no other one after it failed. GDCM ends its process on some broken frames (C++ exceptions that nobody
catches): it decodes only what nothing else can, JPEG lossless and 12-bit JPEG, and that in processes of its own.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import utils
from pydicom.pixels.decoders import base
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from voxtell_dicom.dicom.codecs.isolated import LABEL

DECODERS: Final = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: LABEL,
    JPEGLossless: LABEL,
    JPEGLosslessSV1: LABEL,
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",
}


def decoder_for(syntax: str) -> base.Decoder:
    """pydicom's decoder of a transfer syntax. Raises NotImplementedError where there is none."""
    return base.get_decoder(syntax)


def pixel_array(ds: Dataset, *, index: int | None = None) -> npt.NDArray[Any]:
    """The stored values of an image: of one frame (from 0), or of all. Raises whatever a decoder raises."""
    return utils.pixel_array(ds, index=index)


def _settle() -> None:
    for syntax, label in DECODERS.items():
        decoder = base.get_decoder(syntax)
        if label == LABEL:
            decoder.add_plugin(label, ("voxtell_dicom.dicom.codecs.isolated", "decode_frame"))
        for other in decoder.available_plugins:
            if other != label:
                decoder.remove_plugin(other)


_settle()
logging.getLogger("pydicom.pixels.decoders.base").setLevel(logging.CRITICAL)  # what fails is raised, and said there
