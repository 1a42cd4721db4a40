#!/usr/bin/env bash
# Write requirements-{cpu,cuda}.lock from pyproject.toml: every package exactly pinned and hashed, one
# version each for Python 3.11 to 3.13. Pins already in the lock files are kept where they still fit.
# Usage: requirements/lock.sh [--upgrade]        (UV names the uv to use)
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-uv}

compile() { # TORCH OPTION...: one lock file
  local lock=requirements-$1.lock
  shift
  env UV_CUSTOM_COMPILE_COMMAND="make lock" "$uv" pip compile --quiet --universal --python-version 3.11 \
    --fork-strategy fewest --generate-hashes --extra dev "$@" pyproject.toml --output-file "$lock"
}

compile cuda "$@"
cp requirements-cuda.lock requirements-cpu.lock
compile cpu --config-file requirements/torch-cpu.toml --no-emit-package torch "$@"
cat requirements/torch-cpu.lock >>requirements-cpu.lock
