"""plans.json of a model directory: what network to build. Names only what an allow-list knows; imports nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dynamic_network_architectures.building_blocks.residual import BasicBlockD, BottleneckD
from torch import nn

from voxtell_dicom.engine.network import Sizes
from voxtell_dicom.errors import ModelError

OUR_KEY = "voxtell_dicom"
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"
_CLASSES: dict[str, Any] = {
    **{
        f"{package}.{kind.__name__}": kind
        for kind, module in (
            (nn.Conv3d, "conv"),
            (nn.InstanceNorm3d, "instancenorm"),
            (nn.BatchNorm3d, "batchnorm"),
            (nn.Dropout3d, "dropout"),
            (nn.LeakyReLU, "activation"),
            (nn.ReLU, "activation"),
            (nn.GELU, "activation"),
        )
        for package in ("torch.nn", f"torch.nn.modules.{module}")
    },
    f"{_BLOCKS}.BasicBlockD": BasicBlockD,
    f"{_BLOCKS}.BottleneckD": BottleneckD,
}


@dataclass(frozen=True)
class Plans:
    """What a network is built from."""

    patch_size: tuple[int, int, int]  # z, y, x
    arch_kwargs: Mapping[str, Any]  # classes looked up
    sizes: Sizes
    name: str = ""  # plans_name


def read_plans(directory: Path) -> Plans:
    """Read `directory`/plans.json. Raises ModelError where it is missing, malformed or names what is not allowed."""
    path = directory / "plans.json"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path} is missing: a model directory holds plans.json and fold_0/") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    try:
        configuration = data["configurations"]["3d_fullres"]
        patch = tuple(int(n) for n in configuration["patch_size"])
        architecture = configuration["architecture"]
        arch_kwargs = dict(architecture["arch_kwargs"])
        names = list(architecture.get("_kw_requires_import", []))
        sizes = Sizes.from_mapping(data.get(OUR_KEY, {}))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path} is not a plans file of VoxTell: {type(error).__name__} {error}") from error
    if len(patch) != 3 or min(patch) < 1:
        raise ModelError(f"{path}: patch_size must be three positive numbers (z, y, x), not {list(patch)}")
    for name in names:
        arch_kwargs[name] = _look_up(arch_kwargs.get(name), name, path)
    return Plans(patch, arch_kwargs, sizes, str(data.get("plans_name", "")))


def _look_up(dotted: Any, key: str, path: Path) -> Any:
    if dotted is None:
        return None
    try:
        return _CLASSES[dotted]
    except (KeyError, TypeError):
        raise ModelError(
            f"{path}: {key} names {dotted!r}, which is not one of the classes that a plans file may name: "
            + ", ".join(sorted(name for name in _CLASSES if "modules" not in name))
        ) from None
