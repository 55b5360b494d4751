"""What each option of the engine saves and how far its masks agree with those without it, on the phantom's model.

    python benchmarks/options.py             # two patients, in scans longer than they are
    python benchmarks/options.py --json

The phantom is synthetic, and its model knows nothing else: on real patients measure again before trusting an option.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

from voxtell_dicom.engine import phantom_directory
from voxtell_dicom.engine.predictor import Predictor
from voxtell_dicom.model import Request
from voxtell_dicom.phantom import LABELS, demo_acquisition, torso
from voxtell_dicom.phantom.anatomy import label_mask
from voxtell_dicom.phantom.writer import INTERCEPT, stored_values

CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "exact": {"exact": True},
    "step 0.75": {"step": 0.75},
    "step 1": {"step": 1.0},
    "skip_empty": {"skip_empty": True},
    "crop_to_body": {"crop_to_body": True},
    "both": {"skip_empty": True, "crop_to_body": True},
    "bfloat16": {"bfloat16": True},
}


def patient(seed: int, room: int) -> tuple[Any, dict[str, Any]]:
    """HU on the RAS grid (z, y, x), 4 mm, with `room` planes of noisy air above and below; the true masks."""
    anatomy, way = torso(seed), demo_acquisition(seed)
    ras = np.flip(stored_values(anatomy, way).astype(np.float32) + INTERCEPT, (1, 2))
    codes = np.flip(anatomy.tissues(way.lattice(anatomy)), (1, 2))
    volume = np.random.default_rng(seed).normal(-1000, 12, (len(ras) + 2 * room, *ras.shape[1:])).astype(np.float32)
    volume[room : room + len(ras)] = ras
    around = ((room, room), (0, 0), (0, 0))
    return volume, {label: np.pad(label_mask(codes, label), around) for label in LABELS}


def masks(predictor: Predictor, volume: Any) -> tuple[dict[str, Any], int, float]:
    """Mask of each label, windows computed, CPU seconds."""
    began = time.process_time()
    found = {
        s.request.prompt: s.mask.to_array(volume.shape)
        for s in predictor.segment(volume, (4.0, 4.0, 4.0), [Request(label) for label in LABELS])
    }
    report = predictor.last_run
    return found, report.windows if report else 0, time.process_time() - began


def dice(a: Any, b: Any) -> float:
    """Dice of two masks; 1 where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seeds", type=int, nargs="+", default=[7001, 7002])
    parser.add_argument("--room", type=int, default=64, help="planes of air above and below the patient")
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="these options, beside the default")
    args = parser.parse_args()
    chosen = {"default": {}, **{name: CASES[name] for name in args.only or CASES}}
    predictors = {name: Predictor.load(phantom_directory(), device="cpu", **opts) for name, opts in chosen.items()}
    rows: dict[str, dict[str, Any]] = {}
    for seed in args.seeds:
        volume, truth = patient(seed, args.room)
        reference: dict[str, Any] = {}
        for name, predictor in predictors.items():
            found, windows, seconds = masks(predictor, volume)
            reference = reference or found
            row = rows.setdefault(
                name, {"windows": 0, "cpu_seconds": 0.0, "lowest_dice": 1.0, "differing": 0.0, "true": 1.0}
            )
            row["windows"] += windows
            row["cpu_seconds"] = round(row["cpu_seconds"] + seconds, 2)
            row["lowest_dice"] = round(min([row["lowest_dice"], *(dice(found[k], reference[k]) for k in LABELS)]), 4)
            row["true"] = round(min([row["true"], *(dice(found[k], truth[k]) for k in LABELS)]), 4)
            changed = sum(int((found[label] != reference[label]).sum()) for label in LABELS)
            masked = sum(int(reference[label].sum()) for label in LABELS)
            row["differing"] = max(row["differing"], changed / masked)
    ratios = {f"windows_{name}": round(rows["default"]["windows"] / row["windows"], 3) for name, row in rows.items()}
    if args.json:
        print(json.dumps({"ratios": ratios, "options": rows, "seeds": args.seeds, "room": args.room}))
        return
    print(f"{len(args.seeds)} patients, {args.room} planes of air above and below, {len(LABELS)} prompts")
    for name, row in rows.items():
        print(
            f"  {name:13} {row['windows']:4} windows  CPU {row['cpu_seconds']:6.1f} s  lowest Dice"
            f" {row['lowest_dice']:.4f} (with the truth {row['true']:.3f})"
            f"  voxels that differ, of those in a mask {row['differing']:.1e}"
        )


if __name__ == "__main__":
    main()
