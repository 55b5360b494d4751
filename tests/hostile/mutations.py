"""Datasets and PDU streams that are nearly right, made by a seed: the same seed makes the same bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from tests.hostile import wire
from tests.receive.receiving import make_slice
from tests.receive.sending import deflate, encode

IMPLICIT, EXPLICIT, BIG = wire.IMPLICIT, wire.EXPLICIT, "1.2.840.10008.1.2.2"
DEFLATED, RLE = "1.2.840.10008.1.2.1.99", str(RLELossless)
SYNTAXES: Final = (EXPLICIT, IMPLICIT, BIG, DEFLATED, RLE)
CLASSES: Final = (wire.CT, "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.2", "1.2.840.10008.5.1.4.1.1.66.4")
TEXTS: Final = (
    *(b"../../../../etc/cron.d/x", b"C:\\windows", b"\x1b[2J\x1b]0;owned\x07", b"a\nnode ready", b"", b"\0" * 64),
    *(b"' OR 1=1 --", b"%s%n%x", b"\xff\xfe\xfd", b"9" * 64, b"1." * 32, b"<script>", "\u202e\u2028".encode()),
    *(b"1e309", b"-0", b"NaN", b"1\\2\\3\\4\\5\\6\\7", b"\x1b$B", b"ISO_IR 192\\ISO 2022 IR 87"),
)


@dataclass(frozen=True)
class Mutant:
    """A dataset as it goes over the wire, and what the C-STORE request says of it."""

    data: bytes
    syntax: str
    sop_class: str
    sop_instance: str


def mutant(seed: int, number: int) -> Mutant:
    """Return one mutated dataset."""
    chance = random.Random(f"{seed} dataset {number}")
    syntax = chance.choice(SYNTAXES)
    ds = _source(f"1.2.826.0.1.3680043.10.999.{seed}.{number}", chance)
    if syntax == RLE:
        ds.compress(RLELossless, generate_instance_uid=False)
    data = encode(ds, None if syntax == RLE else EXPLICIT if syntax == DEFLATED else syntax)
    inside = syntax == DEFLATED and chance.random() < 0.7
    if inside or syntax != DEFLATED:
        data = mutated(data, chance)
    if syntax == DEFLATED:
        data = deflate(data) if inside else mutated(deflate(data), chance)
    return Mutant(data, syntax, str(ds.SOPClassUID), str(ds.SOPInstanceUID))


def _source(series_uid: str, chance: random.Random) -> Dataset:
    """Return a whole dataset with sequences, private elements and text."""
    ds = make_slice(series_uid, 1, SOPClassUID=chance.choice(CLASSES), PatientID="HOSTILE", PatientName="Hostile^H")
    ds.StudyInstanceUID = f"{series_uid}.9"
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator = "A", "99X"
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer.ReferencedSOPInstanceUID = "1.2.3"
    outer.is_undefined_length_sequence_item = chance.random() < 0.5
    ds.SourceImageSequence = Sequence([outer, outer])
    ds["SourceImageSequence"].is_undefined_length = chance.random() < 0.5
    ds.RequestAttributesSequence = Sequence([inner])
    ds.private_block(0x0009, "ACME", create=True).add_new(1, "OB", b"\1\2\3\4")
    ds.SeriesDescription, ds.StudyDate, ds.StudyTime = "hostile", "20260101", "101010"
    ds.SeriesNumber, ds.AccessionNumber, ds.TimezoneOffsetFromUTC = 3, "A", "+0100"
    return ds


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with one to four changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(_CHANGES)(data, chance)
    return data


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 30))):
        if changed:
            changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    new = chance.randbytes(chance.choice((1, 2, 4, 16, 200)))
    return data[:at] + new + data[at + len(new) :]


def _length(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    value = chance.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, len(data)))
    new = struct.pack(chance.choice("<>") + "L", value)
    return data[:at] + new + data[at + 4 :]


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _remove(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 8, 100)) :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice(_PIECES) + data[at:]


def _double(data: bytes, chance: random.Random) -> bytes:
    at, to = sorted((_place(data, chance), _place(data, chance)))
    return data[:to] + data[at:to][:4096] * chance.choice((1, 2, 20)) + data[to:]


def _text(data: bytes, chance: random.Random) -> bytes:
    """Replace a value by hostile text of the same length, which keeps the structure."""
    at = _place(data, chance)
    text = chance.choice(TEXTS)[: chance.randrange(2, 66)]
    return data[:at] + text + data[at + len(text) :]


def _pad(data: bytes, chance: random.Random) -> bytes:
    return data + bytes(chance.choice((1, 8, 70_000, 1_000_000)))


def _garbage(_data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 7, 100, 5000)))


def _place(data: bytes, chance: random.Random) -> int:
    """Return a place within data, mostly in front of the pixels."""
    end = len(data) if chance.random() < 0.1 else min(len(data), 1500)
    return chance.randrange(max(1, end)) if data else 0


_UNDEFINED = b"\xff\xff\xff\xff"
_PIECES: Final = (
    b"\xfe\xff\0\xe0" + _UNDEFINED,
    b"\xfe\xff\x0d\xe0\0\0\0\0",
    b"\xfe\xff\xdd\xe0\0\0\0\0",
    b"\x08\0\x40\x11SQ\0\0" + _UNDEFINED,
    (b"\x40\0\x30\xa7SQ\0\0" + _UNDEFINED + b"\xfe\xff\0\xe0" + _UNDEFINED) * 300,
    b"\x09\0\x01\x10ZZ\x02\0ab",
    b"\x10\0\x20\0LO\x08\0OTHER   ",
    b"\x28\0\x08\0IS\x0a\0999999999 ",
    b"\x28\0\x10\0US\x02\0\xff\xff",
    b"\xe0\x7f\x10\0OW\0\0" + _UNDEFINED,
    b"\0" * 200,
)
_CHANGES: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    *(_flip, _overwrite, _length, _text, _text, _insert, _insert),
    *(_cut, _remove, _double, _pad, _garbage),
)


def stream(seed: int, number: int) -> list[bytes]:
    """Return what a caller sends, in pieces: an association that goes wrong somewhere."""
    chance = random.Random(f"{seed} stream {number}")
    slice_uid = f"1.2.826.0.1.3680043.10.998.{seed}.{number}"
    dataset = encode(make_slice(slice_uid, 1))
    pdus = [wire.request(), wire.echo(), wire.store(dataset, f"{slice_uid}.1"), wire.echo(), wire.RELEASE]
    kind = chance.randrange(7)
    if kind == 0:
        chance.shuffle(pdus)
    elif kind == 1:
        whole = mutated(b"".join(pdus), chance)
        return [whole[start : start + 700] for start in range(0, len(whole), 700)]
    elif kind == 2:
        place = chance.randrange(len(pdus))
        pdus[place] = mutated(pdus[place], chance)
    elif kind == 3:
        pdus.insert(
            chance.randrange(len(pdus)), chance.choice((wire.ABORT, wire.request(), b"\x00", b"\x04\0\xff\xff\xff\xff"))
        )
    elif kind == 4:
        pdus = [_request(chance), *pdus[1:]]
    elif kind == 5:
        uid = chance.choice(("1.2\n2026-01-01T00:00:00Z [info     ] node ready", "\x1b[2J1.2", "", "../1", "1" * 64))
        pdus[2] = wire.store(dataset, uid, sop_class=chance.choice((wire.CT, uid)))
    else:
        pdus = pdus[: chance.randrange(1, 5)]
        pdus[-1] = pdus[-1][: chance.randrange(len(pdus[-1]))]
    return pdus


def _request(chance: random.Random) -> bytes:
    """Return an association request whose parts are odd."""
    uids = (wire.CT.encode(), b"", b"1.2\n3", b"\xff" * 10, b"1." * 60, wire.CT.encode() + b"\0")
    contexts = [wire.context(chance.randrange(256), chance.choice(uids)) for _ in range(chance.choice((0, 1, 3, 100)))]
    titles = (b"VOXTELL", b"VOXTELL\0\0", b"CT1", b"", b"\0", b"\x1b[2Jevil", b"a\nb", "Röntgen".encode("latin-1"))
    items = [wire.item(chance.randrange(0x50, 0x100), chance.randbytes(chance.choice((0, 1, 4, 64)))) for _ in range(4)]
    return wire.request(
        chance.choice(titles[:3]).ljust(16), chance.choice(titles).ljust(16), contexts, wire.user(*items)
    )
