#!/usr/bin/env bash
# What needs a CUDA device, on a machine that has PyTorch with Triton, pytest, and no network: one run, under nine minutes.
#
#   here:   tools/cuda-check.sh wheels [3.12]     the few wheels it lacks, for its Python, into .wheels/ (5 MB)
#   there:  tools/cuda-check.sh run [FOLDER]      the laboratory: results.json, table.txt and what else it says, into
#                                                 FOLDER (default: cuda-check/); at most 8 files of 16 MiB
#   here:   tools/cuda-check.sh settings RESULTS  what voxtell_dicom/engine/kernels/settings.json should hold for that card
#
# PYTHON names the interpreter, WHEELS the folder. Arguments behind FOLDER go to the laboratory (benchmarks/laboratory):
# `--only sweep`, `--seconds 300`, `--rehearse` (no card: seconds, at a tiny size).
set -euo pipefail
cd "$(dirname "$0")/.."
WHEELS=${WHEELS:-.wheels}
# All that the engine, the laboratory and the tests marked `cuda` import beside torch, numpy, scipy, safetensors, einops
# and tqdm.
NEEDED=(voxtell dynamic-network-architectures positional-encodings pydicom pydantic pydantic-core annotated-types
    typing-inspection structlog)

wheels() {
    local there=${1:-3.12} python=${PYTHON:-.venv/bin/python} pinned
    mapfile -t pinned < <("$python" -c '
import sys
from importlib.metadata import version
print(*(f"{name}=={version(name)}" for name in sys.argv[1:]), sep="\n")' "${NEEDED[@]}")
    "$python" -m pip download -qq --no-deps --only-binary=:all: --dest "$WHEELS" --python-version "$there" \
        --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 \
        --platform manylinux2014_x86_64 "${pinned[@]}"
    ls "$WHEELS"
}

run() {
    local folder=${1:-cuda-check} python=${PYTHON:-python3} site
    site=$(mktemp -d)
    trap "rm -rf '$site'" EXIT
    mkdir -p "$folder"
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site:$PWD" PYTHONUNBUFFERED=1
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv >"$folder/card.txt" 2>&1 ||
        echo "nvidia-smi does not answer" >>"$folder/card.txt"
    "$python" -m benchmarks.laboratory "$folder" "${@:2}" 2>&1 | tee "$folder/log.txt"
}

settings() {
    "${PYTHON:-.venv/bin/python}" -m benchmarks.laboratory --settings "$1"
}

case ${1:-} in
wheels | run | settings) "$@" ;;
*) sed -n '2,/^set/{/^#/p}' "$0" && exit 2 ;;
esac
