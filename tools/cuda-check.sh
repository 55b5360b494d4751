#!/usr/bin/env bash
# What needs a CUDA device, on a machine that has PyTorch with Triton, pytest, and no network.
#
#   here:   tools/cuda-check.sh wheels [3.12]   the few wheels it lacks, for its Python, into .wheels/ (5 MB)
#   there:  tools/cuda-check.sh run [FOLDER]    the tests marked `cuda`, then benchmarks/engine.py --cuda; what they say
#                                               goes into FOLDER too (default: cuda-check/). PYTHON names the interpreter
#
# `run` takes some minutes, most of them the official module's own; arguments behind FOLDER go to the benchmark.
set -euo pipefail
cd "$(dirname "$0")/.."
WHEELS=.wheels
# All that the engine, its benchmark and those tests import beside torch, numpy, scipy, safetensors, einops and tqdm.
NEEDED=(voxtell dynamic-network-architectures positional-encodings pydicom pydantic pydantic-core annotated-types
    typing-inspection structlog)

wheels() {
    local name version there=${1:-3.12} pip=.venv/bin/pip
    for name in "${NEEDED[@]}"; do
        version=$($pip show "$name" 2>/dev/null | sed -n 's/^Version: //p')
        $pip download -qq --no-deps --only-binary=:all: --dest "$WHEELS" --python-version "$there" --implementation cp \
            --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
            "$name==$version"
    done
    ls "$WHEELS"
}

run() {
    local folder=${1:-cuda-check} python=${PYTHON:-python3} site
    site=$(mktemp -d)
    trap 'rm -rf "$site"' EXIT
    mkdir -p "$folder"
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site:$PWD" PYTHONUNBUFFERED=1
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$folder/card.txt"
    "$python" -m pytest -m cuda tests/cuda 2>&1 | tee "$folder/tests.txt"
    "$python" benchmarks/engine.py --cuda --json "${@:2}" | tee "$folder/engine.json"
}

case ${1:-} in
wheels | run) "$@" ;;
*) sed -n '2,/^set/{/^#/p}' "$0" && exit 2 ;;
esac
