#!/bin/sh
# Make the films of the README and of the page: what a released policy does on some tasks, the last of which it fails.
# Usage: workflow/films.sh [FOLDER [RUN [TASK...]]]        (`dvc pull` brings the released policies)
set -eu
here=$(dirname -- "$0")
folder=${1:-results/released/lite/films}
run=${2:-results/released/lite/runs/mt10-rand/d2r/seed1}
if [ $# -gt 2 ]; then shift 2; else set -- reach drawer-close window-open push; fi
mkdir -p "$folder"
for task; do
  sh "$here/d2r.sh" watch "$run" --tasks "$task" --output "$folder/$task.gif"
done
