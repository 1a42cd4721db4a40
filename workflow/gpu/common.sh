# What measure and train share: settings from the environment, an installation beside the machine's PyTorch, and steps
# that are reported and survived. The caller sets LIMIT_S.
export OUT=${OUT:-results/gpu}        # what is to be taken home
DEVICE=${DEVICE:-cuda}                # cuda, or cpu to rehearse
PYTHON=${PYTHON:-python3}             # one with PyTorch, NumPy and SciPy
VENV=${VENV:-build/gpu}               # made if it is not there; what is there is used as it is
WHEELS=${WHEELS:-build/wheels}        # of `make wheelhouse TRAIN_ONLY=1`
if [ "$DEVICE" = cuda ]; then EXECUTION=${EXECUTION---graph}; else EXECUTION=${EXECUTION-}; fi # how updates are executed
read -ra execution <<<"$EXECUTION"

whole() { # NAME...: settings whose every word must be a whole number above 0
  local name word
  several "$@"
  for name; do
    for word in ${!name}; do
      [[ $word =~ ^[1-9][0-9]*$ ]] || { echo "$name=${!name}: must be a whole number above 0" >&2; exit 2; }
    done
  done
}

several() { # NAME...: settings that must have a word at least
  local name
  for name; do
    [[ ${!name} =~ [^[:space:]] ]] || { echo "$name=${!name}: names nothing" >&2; exit 2; }
  done
}

here=$(dirname -- "${BASH_SOURCE[0]}")
python=$VENV/bin/python d2r=$VENV/bin/d2r
failed=() cut_off=() not_reached=()
mkdir -p "$OUT"

left() { echo $((LIMIT_S - SECONDS)); }
limited() { timeout --kill-after=10 "$(left)" "$@"; } # a command, no function

step() { # NAME COMMAND...: run it, say how it went and how long it took, and go on whatever came out
  local name=$1 began=$SECONDS status=0 verdict=ok
  shift
  if [ "$(left)" -le 0 ]; then
    not_reached+=("$name")
    return 1
  fi
  echo "== $name"
  "$@" || status=$?
  if [ "$status" != 0 ] && [ "$(left)" -le 0 ]; then
    verdict="cut off by the time limit"
    cut_off+=("$name")
  elif [ "$status" != 0 ]; then
    verdict="FAILED with $status"
    failed+=("$name")
  fi
  echo "== $name: $verdict ($((SECONDS - began)) s)"
  return "$status"
}

summary() { # which steps did not succeed; 1 if one failed
  listed() { # WORDS NAME...
    local words=$1 and=""
    shift
    for name; do
      words+="$and $name"
      and=","
    done
    [ $# = 0 ] || echo "$words"
  }
  listed "cut off by the time limit:" "${cut_off[@]}"
  listed "not reached:" "${not_reached[@]}"
  listed "FAILED:" "${failed[@]}"
  [ ${#failed[@]} = 0 ] && echo "nothing failed ($SECONDS s)"
}

look() { # at the PyTorch that PYTHON has, and at its device
  "$PYTHON" -c 'import sys
try:
    import torch, numpy, scipy
except ImportError as error:
    sys.exit(f"{sys.executable} has no {error.name}; set PYTHON to one with PyTorch, NumPy and SciPy")
print("Python", sys.version.split()[0], "torch", torch.__version__, "numpy", numpy.__version__, "scipy", scipy.__version__)
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("PyTorch finds no CUDA device here; set DEVICE=cpu to rehearse")' "$DEVICE"
}

install() { # d2r and what it needs from WHEELS, beside the PyTorch that PYTHON has
  [ -x "$d2r" ] && [ "$DEVICE" != cuda ] && return
  look || return
  [ -x "$d2r" ] && return
  "$PYTHON" -m venv --clear --system-site-packages "$VENV" ||
    "$PYTHON" -m venv --clear --system-site-packages --without-pip "$VENV" || return
  # an environment made from another environment does not see the packages of that one
  "$PYTHON" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parents[1])' \
    >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pytorch_of_machine.pth" || return
  WHEELS=$(realpath "$WHEELS") requirements/install.sh "$VENV" cuda --training >"$OUT/install.log" 2>&1 || {
    tail -n 5 "$OUT/install.log"
    return 1
  }
  "$python" d2r/kernel/build.py # of use on a CPU only, and says so itself if there is no compiler
}
