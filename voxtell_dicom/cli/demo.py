"""`voxtell-dicom demo`: the whole line on a synthetic patient, checked against the truth, with a picture."""

from __future__ import annotations

import json
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtell_dicom.errors import VoxtellDicomError

if TYPE_CHECKING:
    from pynetdicom.events import Event

    from voxtell_dicom.config import Config
    from voxtell_dicom.node import Node

app = typer.Typer()

MINIMUM_DICE = 0.9
TIMEOUT_S = 600.0
PROMPTS = {
    "liver": "liver",
    "liver tumour": "liver lesion",
    "spleen": "spleen",
    "left kidney": "left kidney",
    "right kidney": "right kidney",
    "left lung": "left lung",
    "right lung": "right lung",
    "spine": "spine",
    "aorta": "aorta",
    "urinary bladder": "urinary bladder",
}  # prompt → label of the phantom's truth


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the picture and the SEG.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Which synthetic patient.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON (docs/json.md).")] = False,
) -> None:
    """Send a synthetic patient to a node, get the SEG back as a PACS does, check it, draw it. Exit 1 below Dice 0.9."""
    import logging

    from voxtell_dicom.observe.logs import configure_logs

    configure_logs(level=logging.WARNING if as_json else logging.INFO)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="voxtell-demo-") as temporary:
        report = _run(Path(temporary), out, seed)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _print(report)
    bad = [row["label"] for row in report["segments"] if row["dice"] < MINIMUM_DICE]
    if bad:
        raise VoxtellDicomError(f"Dice below {MINIMUM_DICE} for: {', '.join(bad)}")


def _run(work: Path, out: Path, seed: int) -> dict[str, Any]:
    from voxtell_dicom.encode.capture.picture import picture
    from voxtell_dicom.node import Node
    from voxtell_dicom.phantom.acquisition import demo_acquisition
    from voxtell_dicom.phantom.anatomy import torso
    from voxtell_dicom.phantom.writer import write_series

    anatomy, acquisition = torso(seed), demo_acquisition(seed)
    series = work / "series"
    files = write_series(anatomy, acquisition, series)
    with _pacs(out) as (pacs_port, arrived):
        node = Node(_config(work, pacs_port))
        node.start()
        try:
            began = time.time()
            _send(files, node.port)
            sent = time.time()
            seg = _wait(node, arrived)
            done = time.time()
            (job,) = node.jobs.find(limit=1)
            shown = node.jobs.get(job.id)
        finally:
            node.stop()
    segments = _compare(seg, files, anatomy, acquisition)
    overlay = picture(seg, series, out / "overlay.png")
    seconds = {row.stage: round(row.seconds or 0.0, 2) for row in shown.timeline} if shown else {}
    seconds = {"send": round(sent - began, 2), **seconds, "series sent to SEG stored": round(done - sent, 2)}
    return {"segments": segments, "seconds": seconds, "overlay": str(overlay), "seg": str(seg)}


def _config(work: Path, pacs_port: int) -> Config:
    from voxtell_dicom.config import Config

    return Config.model_validate(
        {
            "version": 1,
            "node": {"dimse": {"host": "127.0.0.1", "port": 0}, "storage": work / "node"},
            "receive": {"quiet_s": 1},
            "model": {"engine": "phantom"},
            "peers": {"pacs": {"ae_title": "DEMOPACS", "host": "127.0.0.1", "port": pacs_port}},
            "rules": [
                {
                    "name": "demo",
                    "when": {"Modality": "CT"},
                    "receipt": "never",  # one object, which is compared with the truth
                    "prompts": list(PROMPTS),
                    "experimental": True,  # a tumour is among them
                    "send_to": ["pacs"],
                }
            ],
        }
    )


@contextmanager
def _pacs(folder: Path) -> Iterator[tuple[int, list[Path]]]:
    """A Storage SCP that stands for the PACS: yields its port, and the list of the files that it has been sent."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt

    arrived: list[Path] = []

    def store(event: Event) -> int:
        path = folder / "result.seg.dcm"
        path.write_bytes(event.encoded_dataset())
        arrived.append(path)
        return 0x0000

    entity = AE("DEMOPACS")
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    assert server is not None
    try:
        yield int(server.server_address[1]), arrived
    finally:
        server.shutdown()


def _send(files: list[Path], port: int) -> None:
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
    from pynetdicom import AE, evt

    entity = AE("DEMOPACS")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    no_delay: list[Any] = [(evt.EVT_CONN_OPEN, _no_delay)]
    association = entity.associate("127.0.0.1", port, ae_title="VOXTELL", evt_handlers=no_delay)
    if not association.is_established:
        raise VoxtellDicomError("the demo's own node did not accept the association")
    try:
        for path in files:
            status = association.send_c_store(path)
            if not status or status.Status != 0x0000:
                raise VoxtellDicomError(f"the demo's own node did not store {path.name}: status {status}")
    finally:
        association.release()


def _no_delay(event: Event) -> None:
    """Without this the kernel waits 40 ms for company at each message."""
    assert event.assoc.dul.socket is not None
    assert event.assoc.dul.socket.socket is not None
    event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wait(node: Node, arrived: list[Path]) -> Path:
    deadline = time.monotonic() + TIMEOUT_S
    pause = threading.Event()
    while time.monotonic() < deadline:
        jobs = node.jobs.find(limit=1)
        if arrived and jobs and jobs[0].state == "delivered":
            return arrived[0]
        if jobs and jobs[0].state in ("failed", "refused", "unmatched", "empty", "held"):
            raise VoxtellDicomError(f"the demo's job ended as {jobs[0].state}: {jobs[0].sentence}")
        pause.wait(0.2)
    raise VoxtellDicomError(f"no SEG came back within {TIMEOUT_S:.0f} s")


def _compare(seg: Path, files: list[Path], anatomy: Any, acquisition: Any) -> list[dict[str, Any]]:
    """Read the SEG as it came back, frame by frame by its source references, and hold it against the truth."""
    import highdicom
    import numpy as np
    import pydicom

    from voxtell_dicom.encode.common.words import prompt_of

    read = highdicom.seg.segread(seg)
    sources = [str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in files]
    masks = read.get_pixels_by_source_instance(
        sources, combine_segments=False, assert_missing_frames_are_empty=True
    ).astype(bool)
    lattice = acquisition.lattice(anatomy)
    frame_mm = float(np.linalg.norm(lattice.steps_mm[0]))
    voxel_ml = frame_mm * float(np.linalg.norm(lattice.steps_mm[1])) * float(np.linalg.norm(lattice.steps_mm[2])) / 1000
    numbers = {prompt_of(item.SegmentDescription): int(item.SegmentNumber) for item in read.SegmentSequence}
    rows = []
    for prompt, label in PROMPTS.items():
        truth = anatomy.mask(label, lattice)
        mask = masks[..., numbers[prompt] - 1] if prompt in numbers else np.zeros_like(truth)
        found, expected, both = (int(np.count_nonzero(array)) for array in (mask, truth, mask & truth))
        dice = 2 * both / (found + expected) if expected else 0.0
        rows.append({"label": prompt, "dice": round(dice, 4), "volume_ml": round(found * voxel_ml, 1)})
    return rows


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("Segment", "Volume (mL)", "Dice", title="Synthetic patient: TEST - NOT FOR PATIENTS")
    for row in report["segments"]:
        colour = "green" if row["dice"] >= MINIMUM_DICE else "red"
        table.add_row(row["label"], f"{row['volume_ml']:.1f}", f"[{colour}]{row['dice']:.3f}[/{colour}]")
    console.print(table)
    times = Table("Stage", "Seconds")
    for stage, seconds in report["seconds"].items():
        times.add_row(stage, f"{seconds:.2f}")
    console.print(times)
    console.print(f"SEG {report['seg']}\npicture {report['overlay']}", highlight=False)
