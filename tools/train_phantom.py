"""Train the small VoxTell model that is shipped with the phantom. CPU is enough (about an hour of two quiet cores).

    GOMP_SPINCOUNT=0 OMP_WAIT_POLICY=PASSIVE python tools/train_phantom.py WORK_DIR

Then `tools/export_phantom.py` makes a model directory of it and says what it reaches. Same architecture and checkpoint
format as the official model, smaller sizes (plans.json states them). Training is resumed from WORK_DIR/last.pt where
that exists. CI never runs this; a test trains a few steps of a tiny configuration.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from phantom_prompts import ABSENT, EMBEDDING_DIM, vector_of

from voxtell_dicom.engine.network import Sizes, VoxTellNetwork
from voxtell_dicom.engine.network.voxtell import position_table
from voxtell_dicom.phantom.anatomy import LABELS, label_mask, torso
from voxtell_dicom.phantom.prompts import SYNONYMS
from voxtell_dicom.phantom.shapes import Lattice, rotation, vector

PATCH = (64, 64, 96)
SMALL_PATCH = (32, 64, 64)
TRAINING_SEEDS = 1000  # 0 … 999 are trained on; validate on 1000 and above, report on seeds never looked at
LEVEL_WEIGHTS = (1.0, 0.4, 0.2, 0.1, 0.05)
SHARE: dict[str, float] = {"liver lesion": 2.5, "urinary bladder": 1.5, "aorta": 2.0, "left kidney": 1.5,
                           "right kidney": 1.5, "spleen": 1.5, "body": 0.5, "lungs": 0.5}  # fmt: skip

ARCH: dict[str, Any] = {
    "n_stages": 6,
    "features_per_stage": [8, 16, 32, 64, 80, 80],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 6,
    "strides": [[1, 1, 1]] + [[2, 2, 2]] * 5,
    "n_blocks_per_stage": [1, 1, 2, 2, 2, 2],
    "n_conv_per_stage_decoder": [1, 1, 1, 1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
CLASSES = {"conv_op": nn.Conv3d, "norm_op": nn.InstanceNorm3d, "dropout_op": None, "nonlin": nn.LeakyReLU}
SIZES: dict[str, int] = {"query_dim": 96, "transformer_layers": 3, "mask_heads": 8, "mask_hidden_dim": 128}


def build(arch: dict[str, Any] = ARCH, sizes: dict[str, int] = SIZES, patch: tuple[int, ...] = PATCH) -> VoxTellNetwork:
    """The network to train, its first text layer a fixed random projection that takes 9 kB instead of 10 MB."""
    network = VoxTellNetwork(Sizes(**sizes), {**arch, **CLASSES}, patch, deep_supervision=True)
    network.initialise()
    freeze_text_layer(network)
    return network


def freeze_text_layer(network: VoxTellNetwork) -> None:
    """Replace the 2560 → 2048 layer by a random Hankel matrix: W[i, j] = r[i + j], one short vector in the file."""
    layer = network.project_text_embed[0]
    assert isinstance(layer, nn.Linear)
    rows, columns = layer.weight.shape
    draw = torch.randn(rows + columns - 1, generator=torch.Generator().manual_seed(7)) / math.sqrt(columns)
    layer.weight = nn.Parameter(draw.half().float().as_strided((rows, columns), (1, 1)).clone(), requires_grad=False)
    layer.bias = nn.Parameter(torch.zeros(rows), requires_grad=False)


def shared_forward(network: VoxTellNetwork, image: torch.Tensor, prompts: torch.Tensor) -> list[torch.Tensor]:
    """The network's forward with deep supervision, the prompt-free half of each convolution computed once.

    image: (1, 1, z, y, x); prompts: (N, 2560). Returns logits (N, 1, z, y, x), full resolution first. The two deepest
    stages stay in float32: in bfloat16 their weight gradients became NaN.
    """
    x = image
    skips: list[torch.Tensor] = []
    if network.encoder.stem is not None:
        x = network.encoder.stem(x)
    for i, stage in enumerate(network.encoder.stages):
        with torch.autocast("cpu", enabled=i < len(network.encoder.stages) - 2 and torch.is_autocast_enabled("cpu")):
            x = stage(x.float() if i >= len(network.encoder.stages) - 2 else x)
        skips.append(x)
    with torch.autocast("cpu", enabled=False):
        embeddings = network.ask(network.look([s.float() for s in skips]), prompts[None].float())
    decoder = network.decoder
    last = len(decoder.stages) - 1
    logits: list[torch.Tensor] = []
    x = skips[-1]
    for i, (up, stage) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
        deep = i < 2
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not deep and torch.is_autocast_enabled("cpu")):
            skip = skips[last - i].float() if deep else skips[last - i]
            block = stage.convs[0]
            channels = skip.shape[1]
            weight = block.conv.weight
            raised = F.conv3d(up(x), weight[:, :channels], None, padding=1)
            own = F.conv3d(skip, weight[:, channels:], block.conv.bias, padding=1)
            y = block.nonlin(block.norm(raised + own))
            e = embeddings[last - i][0]
            if y.shape[0] == 1 and e.shape[0] > 1:
                y = y.expand(e.shape[0], -1, -1, -1, -1)
            fusion = torch.einsum("nczyx,nhc->nhzyx", y, e.to(y.dtype))
            if i == last:
                logits.insert(0, fusion)
                break
            x = torch.cat((y, fusion), dim=1)
            logits.insert(0, decoder.seg_layers[i](x))
    return logits


@dataclass(frozen=True)
class Example:
    """A window of a synthetic scan: image (z, y, x) z-scored over its whole volume, and the tissue codes."""

    image: np.ndarray
    codes: np.ndarray


def scan(rng: np.random.Generator, patch: tuple[int, ...]) -> Example:
    """A window of a random acquisition of a random torso, placed and padded as the predictor does it.

    Spacing 3–5 mm on each axis, sometimes oblique, sometimes cut by the edges of the volume. RAS axes (z, y, x).
    """
    anatomy = torso(int(rng.integers(TRAINING_SEEDS)))
    base = rng.uniform(3.3, 4.5)
    spacing = np.clip(base * rng.uniform(0.85, 1.15, 3), 3.0, 5.0)
    skin = anatomy.organs[0].solid.box()
    low, high = np.asarray(skin[0]), np.asarray(skin[1])
    center, half = (low + high) / 2, (high - low) / 2
    below, above = half + rng.uniform(4, 45, 3), half + rng.uniform(4, 45, 3)
    if rng.random() < 0.3:
        below = below - np.where(rng.random(3) < 0.35, rng.uniform(0, 0.7, 3) * half, 0)
        above = above - np.where(rng.random(3) < 0.35, rng.uniform(0, 0.7, 3) * half, 0)
    turn = rotation(vector(rng.uniform(-10, 10, 3))) if rng.random() < 0.35 else np.eye(3)
    # Superior, anterior and right are +z, −y and −x of patient space, turned with the scanner.
    axes = np.array([turn @ (0, 0, 1), turn @ (0, -1, 0), turn @ (-1, 0, 0)])
    back = np.array([below[2], above[1], above[0]])  # from the centre to the lattice's origin along the axes (z, y, x)
    shape = np.maximum(((below + above)[::-1] / spacing).astype(int), 16)
    origin = center - back @ axes
    lattice = Lattice(
        vector(origin),
        tuple(vector(a * s) for a, s in zip(axes, spacing, strict=True)),
        tuple(int(n) for n in shape),  # type: ignore[arg-type]
    )
    codes = anatomy.tissues(lattice)
    image = anatomy.hounsfield(codes, int(rng.integers(1 << 30)))
    image = (image - image.mean()) / max(image.std(), 1e-8)
    return Example(*window(rng, image, codes, patch))


def window(rng: np.random.Generator, image: np.ndarray, codes: np.ndarray, patch: tuple[int, ...]) -> tuple[Any, Any]:
    """A random window of the patch's size; a smaller volume is padded with 0 on both sides, as for inference."""
    missing = [max(p - n, 0) for p, n in zip(patch, image.shape, strict=True)]
    pad = [(m // 2, m - m // 2) for m in missing]
    image, codes = np.pad(image, pad), np.pad(codes, pad)
    part = tuple(
        slice(start, start + p)
        for start, p in ((int(rng.integers(n - p + 1)), p) for n, p in zip(image.shape, patch, strict=True))
    )
    return image[part], codes[part]


def choose_prompts(rng: np.random.Generator, codes: np.ndarray, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompt vectors (N, 2560) and masks (N, 1, z, y, x) for a window: most of them of what is there."""
    present = [label for label in LABELS if label_mask(codes, label).any()]
    missing = [label for label in LABELS if label not in present]
    texts: list[str] = []
    masks = []
    weights = np.array([SHARE.get(label, 1.0) for label in present])
    chosen = rng.choice(len(present), min(count - 1, len(present)), replace=False, p=weights / weights.sum())
    for i in chosen:
        texts.append(present[i])
        masks.append(label_mask(codes, present[i]))
    while len(texts) < count:
        kind = rng.random()
        if missing and kind < 0.45:
            texts.append(str(rng.choice(missing)))
        elif kind < 0.85:
            texts.append(str(rng.choice(ABSENT)))
        else:
            texts.append(f"nonsense {rng.integers(1 << 40)}")
        masks.append(np.zeros(codes.shape, bool))
    vectors = []
    for text in texts:
        words = (text, *SYNONYMS.get(text, ()))
        vector_ = vector_of(words[int(rng.integers(len(words)))])
        vectors.append(vector_ + 0.15 * rng.standard_normal(EMBEDDING_DIM, np.float32))
    return torch.from_numpy(np.stack(vectors)), torch.from_numpy(np.stack(masks)[:, None].astype(np.float32))


def loss_of(logits: list[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
    """Dice + cross-entropy over all levels. Dice of a prompt that is absent counts little."""
    total = torch.zeros(())
    for level, weight in zip(logits, LEVEL_WEIGHTS, strict=True):
        out = level.float()
        truth = target if out.shape == target.shape else F.adaptive_avg_pool3d(target, out.shape[2:])
        p = out.sigmoid()
        overlap = (p * truth).sum((1, 2, 3, 4))
        both = p.sum((1, 2, 3, 4)) + truth.sum((1, 2, 3, 4))
        dice = 1 - (2 * overlap + 1) / (both + 1)
        present = (truth.sum((1, 2, 3, 4)) > 0).float()
        share = (present + 0.15 * (1 - present)) / len(dice)
        filled = truth.mean((1, 2, 3, 4), keepdim=True)
        rare = 1 + 0.05 * truth * (1 - filled) / (filled + 1e-3)
        bce = F.binary_cross_entropy_with_logits(out, truth, weight=rare)
        total = total + weight * ((dice * share).sum() + bce)
    return total


def train(work: Path, minutes: float, small_minutes: float, peak: float, prompts: int, start: Path | None) -> None:
    """Train for a stretch of wall-clock time; the learning rate falls with it, whatever else the machine does."""
    work.mkdir(parents=True, exist_ok=True)
    network = build().to(memory_format=torch.channels_last_3d)
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=peak, betas=(0.9, 0.98), weight_decay=1e-2)
    average = {k: v.clone() for k, v in network.state_dict().items()}
    done, spent = 0, 0.0
    last = work / "last.pt"
    source = last if last.exists() else start
    if source is not None:
        state = torch.load(source, weights_only=True)
        load(network, state["ema" if source == start else "network"])
        load_average(average, state["ema"])
        if source == last:
            optimizer.load_state_dict(state["optimizer"])
            done, spent = state["step"], state["spent"]
    rng = np.random.default_rng([1, done, int(time.time())])
    torch.manual_seed(done)
    log = (work / "log.txt").open("a")
    begun, saved, losses = time.monotonic() - spent, time.monotonic(), []
    while (spent := time.monotonic() - begun) < minutes * 60:
        patch = SMALL_PATCH if spent < small_minutes * 60 else PATCH
        rate = peak * min(1.0, (done + 1) / 60) * max(0.5 * (1 + math.cos(math.pi * spent / (minutes * 60))), 0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        example = scan(rng, patch)
        if (example.codes > 0).mean() < 0.02:
            continue
        vectors, masks = choose_prompts(rng, example.codes, prompts)
        value = step(network, optimizer, trainable, example.image, vectors, masks)
        if value is None:
            continue
        done += 1
        decay = min(0.995, done / (done + 20))
        with torch.no_grad():
            for k, v in network.state_dict().items():
                if v.is_floating_point() and k != "pos_embed":
                    average[k].lerp_(v, 1 - decay)
        losses.append(value)
        if done % 50 == 0:
            print(f"{spent / 60:6.1f} min step {done} loss {np.mean(losses):.4f} lr {rate:.2e}", file=log, flush=True)
            losses = []
        if time.monotonic() - saved > 120:
            saved = time.monotonic()
            save(last, network, average, optimizer, done, spent)
    save(last, network, average, optimizer, done, spent)


def step(network: VoxTellNetwork, optimizer: torch.optim.Optimizer, trainable: list[nn.Parameter], image: np.ndarray,
         vectors: torch.Tensor, masks: torch.Tensor) -> float | None:  # fmt: skip
    """One step on one window. Returns the loss, or None where a gradient was not finite and the step was dropped."""
    shape = tuple(n // 16 for n in image.shape)
    if network.pos_embed.shape[0] != math.prod(shape):
        network.pos_embed = position_table(shape, network.sizes.query_dim)
    x = torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = shared_forward(network, x.to(memory_format=torch.channels_last_3d), vectors)
    loss = loss_of(logits, masks)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(trainable, 1.0)
    if not torch.isfinite(norm):
        return None
    optimizer.step()
    return float(loss.detach())


def load(network: VoxTellNetwork, state: dict[str, torch.Tensor]) -> None:
    """Load weights, but not the position table, which belongs to the patch."""
    network.load_state_dict({k: v for k, v in state.items() if k != "pos_embed"}, strict=False)


def load_average(average: dict[str, torch.Tensor], state: dict[str, torch.Tensor]) -> None:
    """Take over a saved average of the weights."""
    for k, v in state.items():
        if k != "pos_embed":
            average[k].copy_(v)


def save(path: Path, network: VoxTellNetwork, average: dict[str, torch.Tensor], optimizer: torch.optim.Optimizer,
         done: int, spent: float) -> None:  # fmt: skip
    """Write all that is needed to resume, whole or not at all."""
    content = {"network": network.state_dict(), "ema": average, "optimizer": optimizer.state_dict()}
    content |= {"step": done, "spent": spent}
    torch.save(content, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--small-minutes", type=float, default=14, help="the first of them with the small patch")
    parser.add_argument("--peak", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--prompts", type=int, default=5, help="prompts a step")
    parser.add_argument("--start", type=Path, help="begin from the averaged weights of another run's last.pt")
    args = parser.parse_args()
    train(args.work, args.minutes, args.small_minutes, args.peak, args.prompts, args.start)


if __name__ == "__main__":
    main()
