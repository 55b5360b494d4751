from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from voxtell_dicom.engine.checkpoint import PICKLE, SAFETENSORS, convert, load_checkpoint, stored_digest
from voxtell_dicom.errors import ModelError


@pytest.fixture
def directory(tiny_directory: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_directory, tmp_path / "model"))


def _edit_plans(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plans = json.loads((directory / "plans.json").read_text())
    change(plans)
    (directory / "plans.json").write_text(json.dumps(plans))


def _arch(plans: dict[str, Any]) -> dict[str, Any]:
    arch: dict[str, Any] = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    return arch


def _edit_weights(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    data = torch.load(directory / PICKLE, weights_only=False)
    change(data["network_weights"])
    (directory / PICKLE).unlink()  # a loaded network maps the file: a new one, not new bytes in the old one
    torch.save(data, directory / PICKLE)


def test_a_checkpoint_loads_without_what_nothing_uses(directory: Path) -> None:
    loaded = load_checkpoint(directory)
    names = set(loaded.network.state_dict())
    assert not any("self_attn" in n or "norm1" in n or "seg_layers" in n or n.startswith("decoder.enc") for n in names)
    assert not any(p.is_meta or p.requires_grad or p.dtype != torch.float32 for p in loaded.network.parameters())
    official = torch.load(directory / PICKLE, weights_only=False)["network_weights"]
    for name, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, official[name]), name


def test_half_precision_weights_are_widened(directory: Path) -> None:
    before = load_checkpoint(directory)
    _edit_weights(directory, lambda w: w.update({k: v.half() for k, v in w.items()}))
    after = load_checkpoint(directory)
    assert before.digest != after.digest
    for a, b in zip(before.network.parameters(), after.network.parameters(), strict=True):
        assert b.dtype == torch.float32
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


def test_a_pickle_that_wants_code_is_refused_by_name(directory: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    data = torch.load(directory / PICKLE, weights_only=False)
    torch.save({**data, "surprise": Evil()}, directory / PICKLE)
    with pytest.raises(ModelError, match=r"run code.*touch|run code.*pathlib|run code.*getattr"):
        load_checkpoint(directory)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w.pop("transformer_decoder.norm.weight"), "transformer_decoder.norm.weight is missing"),
        (lambda w: w.update({"decoder.extra": torch.zeros(1)}), "decoder.extra is not part"),
        (
            lambda w: w.update({"project_text_embed.0.bias": torch.zeros(7)}),
            r"project_text_embed.0.bias is \[7\], .*\[2048\]",
        ),
    ],
    ids=["missing", "unexpected", "shape"],
)
def test_tensors_that_do_not_match_the_plans_are_named(directory: Path, change: Any, words: str) -> None:
    _edit_weights(directory, change)
    with pytest.raises(ModelError, match=words):
        load_checkpoint(directory)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda p: p["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(conv_op="os.system"),
            "os.system",
        ),
        (lambda p: p["configurations"].pop("3d_fullres"), "3d_fullres"),
        (lambda p: p["configurations"]["3d_fullres"].update(patch_size=[16, 32, 31]), "cannot be divided"),
        (lambda p: p["voxtell_dicom"].update(query_width=3), "query_width"),
        (lambda p: _arch(p).pop("features_per_stage"), r"plans\.json: no network .* KeyError: 'features_per_stage'"),
        (lambda p: _arch(p).update(n_stages=7), r"plans\.json: no network .* AssertionError: kernel_sizes must have"),
        (lambda p: _arch(p).update(norm_op_kwargs={"foo": 1}), "no network .* TypeError: .*foo"),
        (lambda p: _arch(p).update(strides=[[0, 1, 1]] * 6), "no network .*"),
        (lambda p: p["voxtell_dicom"].update(mask_heads="8"), "mask_heads"),
    ],
    ids=[
        "code",
        "no configuration",
        "patch",
        "unknown size",
        "no features",
        "stages",
        "norm",
        "stride 0",
        "size of a wrong type",
    ],
)
def test_plans_that_make_no_sense_are_refused(directory: Path, change: Any, words: str) -> None:
    _edit_plans(directory, change)
    with pytest.raises(ModelError, match=words):
        load_checkpoint(directory)


def test_missing_and_damaged_files_are_named(directory: Path) -> None:
    whole = (directory / PICKLE).read_bytes()
    for content, words in (
        (b"not a checkpoint", "its 16 bytes are no zip file"),
        (b"", "its 0 bytes are no zip file"),
        (whole[: len(whole) // 2], "cut short"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    ):
        (directory / PICKLE).write_bytes(content)
        with pytest.raises(ModelError, match=rf"checkpoint_final\.pth is not a torch checkpoint: .*{words}"):
            load_checkpoint(directory)
    (directory / PICKLE).unlink()
    with pytest.raises(ModelError, match="missing"):
        load_checkpoint(directory)
    (directory / "plans.json").unlink()
    with pytest.raises(ModelError, match=r"plans\.json is missing"):
        load_checkpoint(directory)


def test_safetensors_keeps_the_digest_and_tells_damage(directory: Path) -> None:
    digest = load_checkpoint(directory).digest
    assert convert(directory, directory) == digest
    (directory / PICKLE).unlink()
    assert load_checkpoint(directory).digest == digest
    assert stored_digest(directory / SAFETENSORS) == (digest, digest)
    data = bytearray((directory / SAFETENSORS).read_bytes())
    data[-5] ^= 0x40
    (directory / SAFETENSORS).write_bytes(data)
    stated, real = stored_digest(directory / SAFETENSORS)
    assert stated == digest != real


def test_loading_takes_neither_compiler_nor_triton_along(directory: Path) -> None:
    """On a CPU they would be 0.1 GB and seconds for nothing."""
    script = (
        "import sys; from pathlib import Path; from voxtell_dicom.engine.checkpoint import load_checkpoint; "
        "load_checkpoint(Path(sys.argv[1])); print(sorted({'triton', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(directory)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
