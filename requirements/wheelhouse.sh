#!/usr/bin/env bash
# Gather the wheels of a lock file in a folder, from which `make .venv WHEELS=FOLDER` installs without a network.
# What comes as source is built. Usage: requirements/wheelhouse.sh PYTHON FOLDER cpu|cuda [--training] [VERSION...]
#   --training    only what training needs beside a PyTorch that is there
#   VERSION       of other Pythons, such as 3.12, whose wheels are gathered, too
set -euo pipefail
python=$1 folder=$(realpath -m "$2") torch=$3
shift 3
cd "$(dirname "$0")/.."
choice=()
if [ "${1:-}" = --training ]; then
  choice=(--training)
  shift
fi
venv=build/wheelhouse
"$python" -m venv --clear "$venv"
. requirements/packages.sh

wheels() { "$venv/bin/python" -I requirements/wheels.py "$1" "$lock" "${@:2}" "${choice[@]}"; }
mkdir -p "$folder"
pip install --quiet --no-deps --require-hashes -r <(pin setuptools)
if [ "$torch" = cpu ] && [ ${#choice[@]} = 0 ]; then get_torch_cpu wheel --wheel-dir "$folder"; fi
pip wheel --quiet --no-deps --require-hashes --no-build-isolation --use-pep517 \
  --find-links "$folder" --wheel-dir "$folder" -r <(wheels pins)
if [ ${#choice[@]} = 1 ]; then
  rm -f "$folder"/metaworld-*-1nopictures-*.whl
  wheels lighten "$folder" >/dev/null
fi
wheels built "$folder" >"$folder/built.lock"
for version; do
  pip download --quiet --no-deps --require-hashes --only-binary :all: --python-version "$version" \
    --find-links "$folder" --dest "$folder" -r <(wheels unbuilt "$folder")
done
wheels found "$folder" >/dev/null
echo "$folder: $(find "$folder" -name '*.whl' | wc -l) wheels, $(du -sm "$folder" | cut -f1) MB"
