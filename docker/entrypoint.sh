#!/bin/sh
# Prepare results/, which may be a folder of the host, then run the command.
if ! mkdir -p /d2r/results/.snakemake 2>/dev/null || ! [ -w /d2r/results/.snakemake ]; then
  echo "d2r: warning: user $(id -u):$(id -g) cannot write to /d2r/results; create the mounted folder first and" \
    "pass --user \"\$(id -u):\$(id -g)\"" >&2
  [ "$1" = snakemake ] && exit 2
fi
exec "$@"
