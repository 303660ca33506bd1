#!/usr/bin/env bash
# Coresets of JHMDB's 12 classes at IPC 1, 5 and 10, and all of the data, under both protocols. FILE.h5 is made by:
#   vdtui prepare hmdb51 --source JHMDB --output FILE.h5 --frames 8 --size 64
# Trainings are shorter than published (hours otherwise on two cores); `vdsd` results say so as deviations.
# usage: docs/experiments/coresets.sh FILE.h5 [RUNS]
set -euo pipefail
data="$1"
export VDTUI_RUNS="${2:-runs-coresets}"
quick=(--set evaluation.epochs=1 --set evaluation.repeats=1 --set selection.epochs=6)
for ipc in 1 5 10; do
  for method in random herding k-center; do
    [ -f "$VDTUI_RUNS/$method-ipc$ipc/report.html" ] ||
      vdtui select "$method" --data "$data" --ipc "$ipc" --run "$method-ipc$ipc" --plain "${quick[@]}" > /dev/null
  done
done
judge() { # protocol, epochs, sources
  local protocol="$1" epochs="$2"
  shift 2
  vdtui evaluate "$@" --protocol "$protocol" --epochs "$epochs" --repeats 3 --set evaluation.batch=4
}
for protocol in strict vdsd; do
  judge "$protocol" 60 random-ipc1 herding-ipc1 k-center-ipc1
  judge "$protocol" 20 random-ipc5 herding-ipc5 k-center-ipc5
  judge "$protocol" 10 random-ipc10 herding-ipc10 k-center-ipc10
  judge "$protocol" 8 "$data"
done
