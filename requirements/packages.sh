# Sourced by what installs or gathers packages of a lock file: `venv` is an environment, `torch` cpu or cuda.
lock=requirements-$torch.lock
pip() { "$venv/bin/python" -I -m pip --disable-pip-version-check "$@"; } # -I: what PYTHONPATH holds is not installed
pin() { sed -n "/^$1==/,/[^\\\\]\$/p" "$lock"; } # one package's lines of the lock file

settings=$("$venv/bin/python" -I requirements/pip_settings.py)
eval "$settings"

# The CPU build of PyTorch lies on an index of its own, which is asked for this one package only, and without
# long retries, so that a machine that holds the wheel elsewhere (pip's find-links) may be cut off from it.
# `+cpu` in the pin keeps pip from taking the CUDA build instead.
get_torch_cpu() { # PIP-COMMAND...
  pip "$@" --no-deps --require-hashes --retries 2 --timeout 30 \
    --extra-index-url https://download.pytorch.org/whl/cpu -r <(pin torch) || {
    echo "$(basename "$0"): no CPU build of PyTorch: https://download.pytorch.org/whl/cpu must be reachable," \
      "or pip's find-links must name a folder with the wheel" >&2
    exit 1
  }
}
