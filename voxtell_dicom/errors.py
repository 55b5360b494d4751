"""One exception tree: every refusal of bad input is one of these.

The message says what is wrong, names the UID, tag or value, and says what to do. Rooms raise them; the workflow turns
them into recorded outcomes (an exception never travels through the durable engine).
"""

from __future__ import annotations


class VoxtellDicomError(Exception):
    """Base of all errors of this package. `code` is a stable word that programs and tests may rely on."""

    code = "error"


class ConfigError(VoxtellDicomError):
    """node.yaml is wrong: names the file, the line, the word, and the nearest right one."""

    code = "config"


class PortUnavailable(VoxtellDicomError):
    """A port of ours cannot be opened now. No ConfigError: a service is to be started again, the address may come."""

    code = "port-unavailable"


class Refusal(VoxtellDicomError):
    """Input that we will not process, because doing so would mean guessing about geometry or identity.

    `code` names the reason (``missing-slice``, ``mixed-patients`` …); `uid` the series or instance that it is about.
    """

    code = "refused"

    def __init__(self, code: str, message: str, uid: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.uid = uid


class SpoolUnavailable(VoxtellDicomError):
    """The instance store cannot take more (disk full, read-only): the sender is told A700 and keeps its data."""

    code = "spool-unavailable"


class ModelError(VoxtellDicomError):
    """A model directory, checkpoint or bank does not hold what it must."""

    code = "model"


class UnknownPrompt(VoxtellDicomError):
    """A prompt that the engine cannot run: not in the bank, and no text model at hand."""

    code = "unknown-prompt"


class OutOfMemory(VoxtellDicomError):
    """The engine ran out of memory with everything moved that could be moved: retry later, or on a larger machine."""

    code = "out-of-memory"


class GridMismatch(VoxtellDicomError):
    """A mask and a volume do not lie on the same grid."""

    code = "grid-mismatch"


class EncodingError(VoxtellDicomError):
    """A result cannot be written as the DICOM object that was asked for."""

    code = "encoding"
