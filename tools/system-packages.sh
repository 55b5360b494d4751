#!/usr/bin/env bash
# Install those of the named Debian packages that are missing; where that is not possible, say which they are.
# PACKAGE/COMMAND: the command will do, wherever it comes from.
set -euo pipefail

missing=()
for wanted in "$@"; do
    package=${wanted%/*}
    if [ "$package" != "$wanted" ] && command -v "${wanted#*/}" >/dev/null; then
        continue
    fi
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need these Debian packages: ${missing[*]}" >&2
    echo "Install them first: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
fi
# RUNLEVEL=1 keeps the packaged Orthanc service from starting and holding the ports that the tests give to theirs.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq </dev/null
apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null
