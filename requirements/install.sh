#!/usr/bin/env bash
# Install a lock file and the command `d2r` (editable, from this checkout) into a virtual environment.
# Usage: requirements/install.sh VENV cpu|cuda [--dependencies-only]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 torch=$2
lock=requirements-$torch.lock
pip() { "$venv/bin/python" -I -m pip --disable-pip-version-check "$@"; } # -I: what PYTHONPATH holds is not installed
pin() { sed -n "/^$1==/,/[^\\\\]\$/p" "$lock"; } # one package's lines of the lock file

settings=$("$venv/bin/python" -I requirements/pip_settings.py)
eval "$settings"

# The few packages that come as source are built with the locked setuptools, not with one fetched for the purpose.
pip install --no-deps --require-hashes -r <(pin setuptools)

# The CPU build of PyTorch lies on an index of its own, which is asked for this one package only, and without
# long retries, so that a machine that holds the wheel elsewhere (pip's find-links) may be cut off from it.
# `+cpu` in the pin keeps pip from taking the CUDA build instead.
if [ "$torch" = cpu ]; then
  pip install --no-deps --require-hashes --retries 2 --timeout 30 \
    --extra-index-url https://download.pytorch.org/whl/cpu -r <(pin torch) || {
    echo "install.sh: no CPU build of PyTorch: https://download.pytorch.org/whl/cpu must be reachable," \
      "or pip's find-links must name a folder with the wheel" >&2
    exit 1
  }
fi
pip install --require-hashes --no-build-isolation --use-pep517 -r "$lock"
if [ "${3:-}" != --dependencies-only ]; then
  pip install --no-deps --no-build-isolation --editable .
fi
