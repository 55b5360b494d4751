#!/usr/bin/env bash
# Install voxtell-dicom @VERSION@ from this folder, without a network:  ./install.sh [FOLDER]  (default /opt/voxtell-dicom)
# It makes FOLDER/.venv and FOLDER/share (docs, examples, unit file). PYTHON names another interpreter than python3.
set -euo pipefail
target=$(realpath -m "${1:-/opt/voxtell-dicom}")
cd "$(dirname "$0")"
python=${PYTHON:-python3}

echo "Checking the files of the bundle"
sha256sum --check --quiet SHA256SUMS
has=$("$python" -c 'import platform, sys; print(sys.version_info[0], sys.version_info[1], platform.machine())')
if [ "$has" != "@PYTHON@" ]; then
    echo "install.sh: this bundle is for Python and machine @PYTHON@, $python is $has: name another by PYTHON=…" >&2
    exit 1
fi
mkdir -p "$target"
free_mb=$(df --output=avail --block-size=1M "$target" | tail -n 1)
if [ "$free_mb" -lt @MB@ ]; then
    echo "install.sh: $target needs @MB@ MB, $free_mb MB are free" >&2
    exit 1
fi

echo "Installing into $target/.venv: @MB@ MB"
"$python" -m venv "$target/.venv"
export PIP_CONFIG_FILE=/dev/null PIP_DISABLE_PIP_VERSION_CHECK=1
pip() { "$target/.venv/bin/python" -m pip --isolated "$@"; }
pip install --quiet --no-index --find-links wheels 'voxtell-dicom[postgresql]==@VERSION@'
pip uninstall --quiet --yes torchvision 2>/dev/null || true # comes along, is not used, does not load beside a CPU torch
ln -sfn "$("$target/.venv/bin/voxtell-dicom" version --files)" "$target/share"
"$target/.venv/bin/voxtell-dicom" --version
echo "Next: $target/share/docs/administrator.md"
