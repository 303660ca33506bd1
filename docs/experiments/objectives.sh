#!/usr/bin/env bash
# A short run of every objective on both parameterisations, at IPC 1, on 12 classes of JHMDB. FILE.h5 is made by:
#   vdtui prepare hmdb51 --source JHMDB --output FILE.h5 --frames 8 --size 64
# Schedules are a small part of the published ones (hours otherwise on two cores). Nothing is held out and no iteration
# chosen: every run is judged at its end, beside its start (`start`, `pixels-start`), by 3 networks on the test split.
# usage: docs/experiments/objectives.sh FILE.h5 [RUNS]
set -euo pipefail
data="$1"
export VDTUI_RUNS="${2:-runs-objectives}"
learn() { # run, preset, steps, more overrides
  local run="$1" preset="$2" steps="$3"
  shift 3
  [ -f "$VDTUI_RUNS/$run/report.html" ] ||
    vdtui distill --preset "$preset" --data "$data" --run "$run" --plain \
      --set dataset.frames=8 --set dataset.size=64 --set dataset.val_fraction=0 --set static.steps=5 \
      --set static.batch_real=8 --set "dynamic.steps=$steps" --set evaluation.epochs=1 --set evaluation.repeats=1 "$@"
}
learn start hmdb51-ipc1-dm 0
learn pixels-start hmdb51-ipc1-pixels-dm 0
for kind in "" pixels-; do
  learn "${kind}dm" "hmdb51-ipc1-${kind}dm" 100
  learn "${kind}frepo" "hmdb51-ipc1-${kind}frepo" 40 --set dynamic.frepo.pool=3 --set dynamic.frepo.batch_real=64
  learn "${kind}mtt" "hmdb51-ipc1-${kind}mtt" 10 --set dynamic.mtt.syn_steps=5 --set dynamic.mtt.max_start_epoch=2 \
    --set experts.number=2 --set experts.batch=16 --set evaluation.use_learned_lr=false
done
for run in start pixels-start dm pixels-dm frepo pixels-frepo mtt pixels-mtt; do
  vdtui evaluate "$run" --protocol strict --epochs 100 --repeats 3 --set evaluation.batch=4
done
