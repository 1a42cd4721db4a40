#!/bin/sh
# d2r of the environment whose dvc runs a stage, which need not be on the PATH: DVC removes a stage's outputs before it
# finds that a command is missing. Looked for beside the programs of the processes above, on the PATH, in .venv.
set -f
IFS='
'
pid=$$
while [ "${pid:-0}" -gt 1 ]; do
  pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
  for word in $(tr '\0' '\n' <"/proc/$pid/cmdline" | head -n 2); do # an interpreter and its script
    case $word in */*) ;; *) continue ;; esac
    folder=$(cd "/proc/$pid/cwd" 2>/dev/null && cd "$(dirname -- "$word")" 2>/dev/null && pwd) || continue
    if [ -f "$folder/d2r" ] && [ -x "$folder/d2r" ]; then exec "$folder/d2r" "$@"; fi
  done
done
if command -v d2r >/dev/null; then exec d2r "$@"; fi
exec "$(dirname -- "$0")/../.venv/bin/d2r" "$@"
