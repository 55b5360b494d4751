"""Send a marked test SEG to a peer and report its answer: the whole way out, before the first patient."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from voxtell_dicom.cli.folder import series_in
from voxtell_dicom.cli.peers import Answer
from voxtell_dicom.config import Config
from voxtell_dicom.deliver import deliver
from voxtell_dicom.encode import ENCODER_REVISION
from voxtell_dicom.errors import ConfigError
from voxtell_dicom.line.publish import judge, publish
from voxtell_dicom.model import Found, Mask, Plan, Prompt, Result
from voxtell_dicom.phantom.acquisition import Acquisition
from voxtell_dicom.phantom.anatomy import torso
from voxtell_dicom.phantom.truth import truth_mask
from voxtell_dicom.phantom.writer import write_series
from voxtell_dicom.series.headers import assemble
from voxtell_dicom.series.volume import with_key

RULE = "CONNECTION TEST"


def send_test_seg(name: str, settings: Config) -> Answer:
    """Send the liver of a small phantom to the peer `name`. Raises ConfigError where results cannot be sent to it."""
    peer = settings.peers.get(name)
    if peer is None or not peer.can_receive:
        able = ", ".join(key for key, each in settings.peers.items() if each.can_receive) or "none"
        raise ConfigError(f"'{name}' is no peer that results can be sent to; those are: {able}")
    with tempfile.TemporaryDirectory(prefix="voxtell-dicom-") as folder:
        result = make_test_seg(settings, Path(folder), name)
        began = time.monotonic()
        outcome = deliver(result, peer, calling_ae=settings.node.ae_title, name=name)
    state = "ok" if outcome.state == "delivered" else "failed"
    words = f"{outcome.state}: {outcome.status} {outcome.message}".strip()
    milliseconds = round(1000 * (time.monotonic() - began))
    return Answer(name, "test SEG", result.sop_instance_uid, state, words, milliseconds)


def make_test_seg(settings: Config, folder: Path, peer: str) -> Result:
    """A SEG of a phantom as the peer takes it, marked TEST - NOT FOR PATIENTS, with UIDs of its own at each call."""
    anatomy = torso(0)
    acquisition = Acquisition(shape=(16, 64, 64), slice_spacing_mm=12.0, pixel_spacing_mm=(7.0, 7.0))
    write_series(anatomy, acquisition, folder / "series")
    (series,) = series_in(folder / "series")
    volume = with_key(assemble(series).volumes[0])
    mask = Mask.from_array(truth_mask(anatomy, "liver", volume))
    prompt = Prompt("liver", "Liver")
    plan = Plan(
        volume_key=volume.key,
        rule=RULE,
        rule_index=0,
        prompts=(prompt,),
        outputs=("seg",),
        send_to=(peer,),
        engine_identity="phantom truth",
        encoder_revision=ENCODER_REVISION,
        run=time.time_ns(),
    )
    marked = settings.model.model_copy(update={"directory": None, "engine": "phantom"})
    config = settings.model_copy(update={"model": marked})
    judged = judge(plan, volume, [Found(prompt, mask, 1.0)])
    (result,) = publish(judged, config=config, directory=folder / "results").results
    return result
