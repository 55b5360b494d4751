"""Make a model directory of a trained phantom network, and measure what one reaches.

    python tools/export_phantom.py export WORK_DIR/last.pt MODEL_DIR
    python tools/export_phantom.py evaluate MODEL_DIR --seeds 5000 5001 5002 5003 5004 [--planes axial coronal]

The checkpoint has the official format, in float16; tensors that are constant or made of one short vector are written as
views of it, so that the file stays small.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))
import train_phantom as training
from phantom_prompts import ABSENT, bank

from voxtell_dicom.engine.bank import FILE as BANK_FILE
from voxtell_dicom.engine.checkpoint import PICKLE
from voxtell_dicom.engine.network.state import official_state_dict
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.model import Request, ToRas
from voxtell_dicom.phantom.acquisition import Acquisition, demo_acquisition
from voxtell_dicom.phantom.anatomy import LABELS, label_mask, torso
from voxtell_dicom.phantom.writer import INTERCEPT, stored_values
from voxtell_dicom.series.orientation import to_ras_of


def export(trained: Path, directory: Path) -> None:
    """Write plans.json, fold_0/checkpoint_final.pth and the bank from the averaged weights of a training run."""
    network = training.build()
    training.load(network, torch.load(trained, weights_only=True)["ema"])
    (directory / PICKLE).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": compact(official_state_dict(network))}, directory / PICKLE)
    architecture = {
        "network_class_name": "VoxTell",
        "arch_kwargs": training.ARCH,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    plans = {
        "dataset_name": "synthetic torsos of voxtell_dicom.phantom",
        "plans_name": "voxtell_dicom phantom",
        "configurations": {"3d_fullres": {"patch_size": list(training.PATCH), "architecture": architecture}},
        "voxtell_dicom": training.SIZES,
    }
    (directory / "plans.json").write_text(json.dumps(plans, indent=1) + "\n", encoding="utf-8")
    labels, embeddings = bank()
    np.savez_compressed(directory / BANK_FILE, labels=np.array(labels, np.str_), embeddings=embeddings)


def compact(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """float16, each tensor once however many names it has, constants as one number, the Hankel matrix as its vector."""
    small: dict[int, torch.Tensor] = {}
    result = {}
    for name, tensor in state.items():
        key = tensor.data_ptr()
        if key not in small:
            if name == "pos_embed":
                small[key] = tensor.clone()
            elif name == "project_text_embed.0.weight":
                vector = torch.cat((tensor[:, 0], tensor[-1, 1:])).half()
                small[key] = vector.as_strided(tensor.shape, (1, 1))
                assert torch.equal(small[key].float(), tensor)
            elif not tensor.any():
                small[key] = torch.zeros(1, dtype=torch.float16).expand(tensor.shape)
            else:
                small[key] = tensor.half().contiguous()
        result[name] = small[key]
    return result


def evaluate(directory: Path, scans: list[tuple[int, Acquisition]], show: bool = True) -> dict[str, list[float]]:
    """Dice of each label on each scan; prints the table, and what absent prompts gave (voxels)."""
    engine = Predictor.load(directory, device="cpu")
    dice: dict[str, list[float]] = defaultdict(list)
    wrong: list[str] = []
    for seed, acquisition in scans:
        anatomy = torso(seed)
        way = to_ras_of(acquisition.grid(anatomy))
        image = ras(stored_values(anatomy, acquisition).astype(np.float32) + INTERCEPT, way)
        codes = ras(anatomy.tissues(acquisition.lattice(anatomy)), way)
        begun = time.monotonic()
        for segment in engine.segment(image, (4.0, 4.0, 4.0), [Request(p) for p in (*LABELS, *ABSENT)]):
            prompt, found = segment.request.prompt, segment.mask.to_array(image.shape)
            if prompt in LABELS:
                truth = label_mask(codes, prompt)
                dice[prompt].append(2.0 * (found & truth).sum() / max(found.sum() + truth.sum(), 1))
            elif segment.voxels:
                wrong.append(f"{prompt} {segment.voxels} (seed {seed})")
        print(f"seed {seed} {acquisition.plane} {image.shape} {time.monotonic() - begun:.1f} s", flush=True)
    if show:
        for label, values in dice.items():
            print(f"{label:16s} {np.mean(values):.3f}  worst {min(values):.3f}")
        print(f"absent prompts that gave voxels: {wrong or 'none'} of {len(ABSENT) * len(scans)}")
    return dice


def ras(array: np.ndarray, way: ToRas) -> np.ndarray:
    """A source array (frame, row, column) on the RAS grid (z, y, x)."""
    turned = array.transpose(way.axes)
    return np.ascontiguousarray(np.flip(turned, tuple(i for i, flip in enumerate(way.flips) if flip)))


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("export")
    one.add_argument("trained", type=Path)
    one.add_argument("directory", type=Path)
    two = commands.add_parser("evaluate")
    two.add_argument("directory", type=Path)
    two.add_argument("--seeds", type=int, nargs="+", required=True)
    two.add_argument("--planes", nargs="+", default=["axial"])
    args = parser.parse_args()
    if args.command == "export":
        export(args.trained, args.directory)
    else:
        evaluate(args.directory, [(s, demo_acquisition(s, plane)) for plane in args.planes for s in args.seeds])


if __name__ == "__main__":
    main()
