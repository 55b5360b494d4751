"""The official VoxTell network and ours on one window: same full-size random weights, same machine, in one run.

    python benchmarks/engine.py              # CPU, a 96³ window, 1, 4, 12 and 20 prompts: some minutes
    python benchmarks/engine.py --quick      # 12 prompts, once: under two minutes on two quiet cores
    python benchmarks/engine.py --bfloat16   # ours also in bfloat16, with its mask disagreement
    python benchmarks/engine.py --cuda       # a 192³ window, float16 autocast, 1, 4, 20 and 60 prompts; masks are
                                             # compared with the official ones in float32, the official's own, too
    python benchmarks/engine.py --json       # the same as JSON; `ratios` is what the README claims

Three processes take turns, one measuring while the others wait: the official module as a user starts it, the official
module under the allocator settings that our worker gets (freed memory kept from its second window on), and ours. On
CUDA the allocator makes no difference, and two take turns. Each runs a window with one prompt first, unmeasured, which
maps the weights and compiles what is compiled once: a volume has many windows. Every number is the best of the rounds;
set OMP_NUM_THREADS=1 where others share the
cores. "decoder" is the image decoder alone, prompt-free part included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FULL_FEATURES = [32, 64, 128, 256, 320, 320]
BLOCKS = [1, 3, 4, 6, 6, 6]
STRIDES = [[1, 1, 1]] + [[2, 2, 2]] * 5
SIZES = {"query_dim": 2048, "mask_heads": 32, "mask_hidden_dim": 2048}  # smaller where the laboratory is rehearsed
SIDES = {
    "official": "official",
    "official_tuned": "official, our allocator settings",
    "ours": "ours",
    "ours_bfloat16": "ours, bfloat16",
    "official_float32": "official, float32",  # on CUDA, to compare masks with: never timed
}

KINDS = ("window", "decoder", "cpu")  # seconds: of a window, of the image decoder in it, of all threads' CPU time


def full_size_arch() -> dict[str, Any]:
    """The architecture of the v1.1 checkpoint, as plans.json states it."""
    return {
        "n_stages": 6,
        "features_per_stage": FULL_FEATURES,
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * 6,
        "strides": STRIDES,
        "n_blocks_per_stage": BLOCKS,
        "n_conv_per_stage_decoder": [1] * 5,
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }


def write_random_model(directory: Path, patch: tuple[int, int, int], seed: int) -> None:
    """A model directory of full size with random weights, in the official format."""
    import torch

    from voxtell_dicom.engine.checkpoint import convert
    from voxtell_dicom.engine.network import Sizes, VoxTellNetwork
    from voxtell_dicom.engine.network.state import official_state_dict
    from voxtell_dicom.engine.network.voxtell import position_table
    from voxtell_dicom.engine.plans import read_plans

    architecture = {
        "arch_kwargs": full_size_arch(),
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {"patch_size": list(patch), "architecture": architecture}
    plans = {"configurations": {"3d_fullres": configuration}, "voxtell_dicom": SIZES}
    (directory / "fold_0").mkdir(parents=True)
    (directory / "plans.json").write_text(json.dumps(plans))
    with torch.device("meta"):
        network = VoxTellNetwork(Sizes(**SIZES), read_plans(directory).arch_kwargs, patch)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan_in) ** 0.5)
        network.pos_embed.copy_(position_table([n // 16 for n in patch], SIZES["query_dim"]))
    torch.save({"network_weights": official_state_dict(network)}, directory / "fold_0" / "checkpoint_final.pth")
    convert(directory, directory)  # as `voxtell-dicom model import` does, once


class Side:
    """One implementation, in a process of its own: loads the model, then runs what it is asked to."""

    def __init__(self, name: str, directory: Path, cuda: bool) -> None:
        import torch

        self.torch = torch
        self.name = name
        self.device = torch.device("cuda" if cuda else "cpu")
        if cuda:
            torch.backends.cudnn.benchmark = True  # as the official predictor sets it
            torch.backends.cudnn.allow_tf32 = name != "official_float32"
        if name.startswith("ours"):
            from voxtell_dicom.engine.checkpoint import load_checkpoint
            from voxtell_dicom.engine.forward import WindowModel

            self.network = load_checkpoint(directory).network.to(self.device)
            self.model = WindowModel(self.network, self.device, bfloat16=name == "ours_bfloat16")
        else:
            self.network = self._official(directory).to(self.device)
        patch = json.loads((directory / "plans.json").read_text())["configurations"]["3d_fullres"]["patch_size"]
        generator = torch.Generator().manual_seed(7)
        self.image = torch.randn(patch, generator=generator).to(self.device)
        self.prompts = torch.randn(60, 2560, generator=generator).to(self.device)
        self._note_times()

    def _official(self, directory: Path) -> Any:
        from unittest.mock import patch as patched

        from voxtell.model.voxtell_model import VoxTellModel

        from voxtell_dicom.engine.checkpoint import PICKLE, read_pickle
        from voxtell_dicom.engine.plans import read_plans

        plans = read_plans(directory)
        shapes = [tuple(n // 2**stage for n in plans.patch_size) for stage in range(6)]
        configs = {i: {"channels": c, "shape": s} for i, (c, s) in enumerate(zip(FULL_FEATURES, shapes, strict=True))}
        with patched.object(VoxTellModel, "DECODER_CONFIGS", configs), _no_initialisation(self.torch):
            network = VoxTellModel(
                input_channels=1, **plans.arch_kwargs, decoder_layer=4, text_embedding_dim=2560,
                num_maskformer_stages=5, num_heads=SIZES["mask_heads"], query_dim=SIZES["query_dim"],
                project_to_decoder_hidden_dim=SIZES["mask_hidden_dim"],
            )  # fmt: skip
        network.load_state_dict(read_pickle(directory / PICKLE), assign=True)
        return network.eval()

    def autocast(self) -> Any:
        half = self.device.type == "cuda" and self.name != "official_float32"
        return self.torch.autocast("cuda", self.torch.float16, enabled=half)

    def ceilings(self) -> dict[str, float]:
        """What the card reaches at most, measured: operations per second in float16 and bfloat16, bytes per second."""
        found = self._reach()
        self.torch.cuda.empty_cache()
        self.torch.cuda.reset_peak_memory_stats()  # what is reported is the windows' peak, not this one
        return found

    def _reach(self) -> dict[str, float]:
        torch, found = self.torch, {}
        for name, dtype in (("float16_flops", torch.float16), ("bfloat16_flops", torch.bfloat16)):
            a = torch.randn(8192, 8192, device=self.device, dtype=dtype)
            found[name] = 2 * 8192**3 / self._seconds(lambda a=a: a @ a)
        a = torch.empty(1 << 30, device=self.device, dtype=torch.uint8)
        b = torch.empty_like(a)
        found["bytes_per_second"] = 2 * a.numel() / self._seconds(lambda: b.copy_(a))
        return found

    def _seconds(self, work: Any) -> float:
        best = 1e9
        for _ in range(5):
            self.wait()
            start = time.perf_counter()
            for _ in range(10):
                work()
            self.wait()
            best = min(best, (time.perf_counter() - start) / 10)
        return best

    def window(self, prompts: int) -> tuple[Any, float]:
        """One window, all of it. Returns the logits (N, z, y, x) and the seconds that the image decoder took of it."""
        vectors = self.prompts[:prompts]
        self.decoder_seconds = 0.0
        if not self.name.startswith("ours"):
            with self.autocast():
                logits = self.network(self.image[None, None], vectors[None])[0]
            return logits, self.decoder_seconds
        if self.device.type == "cuda":  # as a pass does it: added to the sums, never stored by itself
            out = self.torch.zeros(prompts, *self.image.shape, device=self.device, dtype=self.torch.float16)
            ones = self.torch.ones(self.image.shape, device=self.device, dtype=self.torch.float16)
            for _ in self.model.accumulate(self.image, vectors, 0, ones, out):
                pass
            self.wait()
            return out, time.perf_counter() - self.asked
        out = self.torch.empty(prompts, *self.image.shape, device=self.device)
        for first, logits in self.model.logits(self.image, vectors):
            out[first : first + logits.shape[0]] = logits
        self.wait()
        return out, time.perf_counter() - self.asked

    def _note_times(self) -> None:
        """The official image decoder is a module that is called; ours is what follows `_look_and_ask`."""
        if self.name.startswith("ours"):
            ask = self.model._look_and_ask

            def asked(*args: Any) -> Any:
                answer = ask(*args)
                self.wait()
                self.asked = time.perf_counter()
                return answer

            self.model._look_and_ask = asked
            return
        decode = self.network.decoder.forward

        def decoded(*args: Any) -> Any:
            self.wait()
            start = time.perf_counter()
            answer = decode(*args)
            self.wait()
            self.decoder_seconds += time.perf_counter() - start
            return answer

        self.network.decoder.forward = decoded

    def wait(self) -> None:
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()

    def serve(self) -> None:
        """Requests on standard input, answers on standard output, one JSON line each."""
        answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        ready: dict[str, Any] = {"ready": self.name, "kernels": getattr(getattr(self, "model", None), "kernels", "")}
        if self.device.type == "cuda" and self.name == "ours":
            ready |= {"ceilings": self.ceilings(), "cudnn": self.torch.backends.cudnn.version()}
        print(json.dumps(ready), file=answers)
        from voxtell_dicom.engine import keep_freed_memory

        with self.torch.inference_mode():
            for line in sys.stdin:
                task = json.loads(line)
                start, cpu = time.perf_counter(), time.process_time()
                logits, decoder = self.window(task["prompts"])
                self.wait()
                seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
                if task["save"]:
                    self.torch.save(logits.float().cpu(), task["save"])
                del logits
                if self.name != "official":
                    keep_freed_memory()  # as the worker does when a window is done
                answer = {"window": seconds, "decoder": decoder, "cpu": cpu, "peak_bytes": self._peak()}
                print(json.dumps(answer), file=answers)

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return int(self.torch.cuda.max_memory_allocated())
        from voxtell_dicom.engine.memory import peak_host_bytes

        return peak_host_bytes()


@contextlib.contextmanager
def _no_initialisation(torch: Any) -> Any:
    """Random initial weights of 440 M parameters take half a minute, and are overwritten."""
    from unittest.mock import patch as patched

    init = torch.nn.init
    names = ("kaiming_uniform_", "xavier_uniform_", "uniform_", "kaiming_normal_")
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(patched.object(init, name, lambda tensor, *_a, **_k: tensor))
        yield


class Process:
    """A `Side` in its own process and environment."""

    def __init__(self, name: str, directory: Path, cuda: bool) -> None:
        from voxtell_dicom.engine import worker_environment

        environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
        if name != "official":
            ours = name.startswith("ours")
            environment.update({k: v for k, v in worker_environment().items() if ours or k == "GLIBC_TUNABLES"})
        command = [sys.executable, __file__, "--side", name, "--directory", str(directory)]
        self._process = subprocess.Popen(
            command + (["--cuda"] if cuda else []),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self._answer()
        self.ask(prompts=1, save=None)  # to be warm: not measured

    def ask(self, **task: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a measured process ended; its error stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def official_macs(patch: tuple[int, int, int], prompts: int) -> float:
    """Multiplications that the official way does for a window: encoder 1.7 T and 0.78 T per prompt at 192³."""
    share = patch[0] * patch[1] * patch[2] / 192**3
    return (1.7e12 + 0.78e12 * prompts) * share


def our_macs(patch: tuple[int, int, int], prompts: int) -> float:
    """Multiplications that ours does in the image decoder and the encoder, exact algebra (see engine/fold.py)."""
    total = official_macs(patch, 0)
    voxels = patch[0] * patch[1] * patch[2]
    for stage in range(5):
        fine = voxels / 8**stage
        here, below = FULL_FEATURES[stage], FULL_FEATURES[stage + 1]
        if stage == 4:
            total += fine * (27 * 2 * here * here + below * here)
            continue
        side = round((voxels / 8 ** (stage + 1)) ** (1 / 3))
        positions = ((side + 1) / side) ** 3
        total += fine * 27 * here * here + prompts * fine * positions * 8 * below * here
    return total


def measure(sides: list[str], directory: Path, patch: tuple[int, int, int], args: argparse.Namespace) -> dict[str, Any]:
    """Every side, every number of prompts, taking turns."""
    import torch

    processes = {name: Process(name, directory, args.cuda) for name in sides}
    ready = processes["ours"].ready
    result: dict[str, Any] = {key: ready[key] for key in ("kernels", "ceilings", "cudnn") if key in ready}
    result |= {"window": {}, "decoder": {}, "cpu": {}, "peak_bytes": {}, "disagreement": {}}
    try:
        for prompts in args.prompts:
            best: dict[str, dict[str, float]] = {kind: {} for kind in KINDS}
            saved = {name: directory / f"{name}.pt" for name in sides if name != "official_tuned"}
            reference = "official_float32" if args.cuda else "official"
            if args.cuda:
                processes[reference].ask(prompts=prompts, save=str(saved[reference]))
            for turn in range(args.rounds):
                for name, process in processes.items():
                    if name == "official_float32":
                        continue
                    save = str(saved[name]) if turn == 0 and name in saved else None
                    answer = process.ask(prompts=prompts, save=save)
                    for kind in KINDS:
                        best[kind][name] = min(answer[kind], best[kind].get(name, 1e9))
                    result["peak_bytes"].setdefault(name, {})[prompts] = answer["peak_bytes"]
            official = torch.load(saved[reference])
            result["disagreement"][prompts] = {
                name: _disagreement(official, torch.load(path)) for name, path in saved.items() if name != reference
            }
            for kind in KINDS:
                result[kind][prompts] = best[kind]
    finally:
        for process in processes.values():
            process.close()
    result["ratios"] = _ratios(result)
    result["official_macs"] = {n: official_macs(patch, n) for n in args.prompts}
    result["our_macs"] = {n: our_macs(patch, n) for n in args.prompts}
    return result


def _disagreement(official: Any, ours: Any) -> dict[str, float]:
    return {
        "voxels": float(((official > 0) != (ours > 0)).float().mean()),
        "logits": float((official - ours).abs().max() / official.abs().max()),
    }


def _ratios(result: dict[str, Any]) -> dict[str, float]:
    ratios = {}
    for prompts, seconds in result["window"].items():
        cpu = result["cpu"][prompts]
        ratios[f"cpu_seconds_{prompts}"] = cpu.get("official_tuned", cpu["official"]) / cpu["ours"]
        decoder = result["decoder"][prompts]
        ratios[f"window_{prompts}"] = seconds["official"] / seconds["ours"]
        ratios[f"decoder_{prompts}"] = decoder.get("official_tuned", decoder["official"]) / decoder["ours"]
        peak = {name: peaks[prompts] for name, peaks in result["peak_bytes"].items() if prompts in peaks}
        ratios[f"peak_{prompts}"] = peak["official"] / peak["ours"]
        if "official_tuned" in seconds:
            ratios[f"window_{prompts}_same_allocator"] = seconds["official_tuned"] / seconds["ours"]
        if "ours_bfloat16" in seconds:
            ratios[f"window_{prompts}_bfloat16"] = seconds["official"] / seconds["ours_bfloat16"]
    return {key: round(value, 3) for key, value in ratios.items()}


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"{result['machine']}; patch {result['patch']}; torch {result['torch']}; kernels {result['kernels']}")
    ceilings = result.get("ceilings", {})
    if ceilings:
        print(f"cuDNN {result['cudnn']}; this card reaches " + ", ".join(f"{k} {v:.3g}" for k, v in ceilings.items()))
    for prompts, seconds in result["window"].items():
        print(f"\n{prompts} prompts")
        for name in seconds:
            macs = result["our_macs" if name.startswith("ours") else "official_macs"][prompts]
            rate, peak = 2 * macs / seconds[name] / 1e9, result["peak_bytes"][name][prompts] / 2**30
            print(
                f"  {SIDES[name]:34} window {seconds[name]:7.2f} s   decoder {result['decoder'][prompts][name]:7.2f} s"
                f"   CPU {result['cpu'][prompts][name]:7.2f} s   {rate:6.0f} GFLOP/s   peak {peak:5.1f} GiB"
                + (f"   {rate * 1e9 / ceilings['float16_flops']:.0%} of the card's float16" if ceilings else "")
            )
        for name, off in result["disagreement"][prompts].items():
            print(
                f"  {SIDES[name]}: {off['voxels']:.1e} of the mask voxels differ from the official ones"
                f"{' in float32' if ceilings else ''}, logits by {off['logits']:.1e} of the largest"
            )
    print("\nratios: " + ", ".join(f"{key} {value:.2f}×" for key, value in result["ratios"].items()))
    print(
        "GFLOP/s counts the work that the side itself does. decoder_N and cpu_seconds_N compare under the same "
        "allocator settings; CPU seconds say more than the clock where others share the cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="12 prompts, one round")
    parser.add_argument("--bfloat16", action="store_true", help="CPU: ours also in bfloat16")
    parser.add_argument("--cuda", action="store_true", help="192³ on a CUDA device")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--prompts", type=int, nargs="+")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--patch", type=int, help="edge of the window in voxels, a multiple of 32")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        Side(args.side, args.directory, args.cuda).serve()
        return
    import torch

    edge = args.patch or (192 if args.cuda else 96)
    patch = (edge, edge, edge)
    args.prompts = args.prompts or ([12] if args.quick else [1, 4, 20, 60] if args.cuda else [1, 4, 12, 20])
    args.rounds = args.rounds or (1 if args.quick else 3 if args.cuda else 2)
    sides = ["official", "ours", "official_float32"] if args.cuda else ["official", "official_tuned", "ours"]
    sides += ["ours_bfloat16"] if args.bfloat16 else []
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "model"
        write_random_model(directory, patch, seed=11)
        start = time.perf_counter()
        result = measure(sides, directory, patch, args)
    result["seconds"] = time.perf_counter() - start
    result["patch"] = f"{edge}³"
    result["torch"] = torch.__version__
    result["machine"] = torch.cuda.get_device_name() if args.cuda else f"CPU, {torch.get_num_threads()} threads"
    if args.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
