#!/usr/bin/env bash
# Install a lock file and the command `d2r` (editable, from this checkout) into a virtual environment.
# Usage: [WHEELS=FOLDER] requirements/install.sh VENV cpu|cuda [--dependencies-only|--training]
#   WHEELS        install from this folder (`make wheelhouse`) and ask no network
#   --training    what training needs beside a PyTorch that is there; from WHEELS only
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 torch=$2 what=${3:-}
. requirements/packages.sh

if [ -n "${WHEELS:-}" ]; then
  choice=()
  if [ "$what" = --training ]; then choice=(--training); fi
  chosen=$("$venv/bin/python" -I requirements/wheels.py found "$lock" "$WHEELS" "${choice[@]}")
  offline=(--no-index --find-links "$WHEELS" --no-deps --require-hashes)
  pip install "${offline[@]}" -r <(printf '%s\n' "$chosen")
else
  # The few packages that come as source are built with the locked setuptools, not with one fetched for the purpose.
  pip install --no-deps --require-hashes -r <(pin setuptools)
  if [ "$torch" = cpu ]; then get_torch_cpu install; fi
  pip install --require-hashes --no-build-isolation --use-pep517 -r "$lock"
fi
if [ "$what" != --dependencies-only ]; then
  pip install --no-index --no-deps --no-build-isolation --editable .
fi
