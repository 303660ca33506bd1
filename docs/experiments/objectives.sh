#!/usr/bin/env bash
# A short run of every objective on both parameterisations, on 12 classes of JHMDB. FILE.h5 is made by:
#   vdtui prepare hmdb51 --source JHMDB --output FILE.h5 --frames 8 --size 64
# Schedules are a small part of the published ones (hours otherwise on two cores). Nothing is held out and no iteration
# chosen: every run is judged at its end, beside its start (`start`, `pixels-start`: random real clips), by 3 networks
# on the test split, each trained for 60 passes at IPC 1 and 20 at any other, in steps of 4 clips. A run that is there
# already is not made again.
# usage: docs/experiments/objectives.sh FILE.h5 [RUNS [IPC]]
set -euo pipefail
data="$1" ipc="${3:-1}"
export VDTUI_RUNS="${2:-runs-objectives}"
suffix="" epochs=60
[ "$ipc" = 1 ] || suffix="-ipc$ipc" epochs=20
learn() { # run, preset, steps, more overrides
  local run="$1$suffix" preset="hmdb51-ipc$ipc-$2" steps="$3"
  shift 3
  [ -f "$VDTUI_RUNS/$run/report.html" ] ||
    vdtui distill --preset "$preset" --data "$data" --run "$run" --plain \
      --set dataset.frames=8 --set dataset.size=64 --set dataset.val_fraction=0 --set static.steps=5 \
      --set static.batch_real=8 --set "dynamic.steps=$steps" --set evaluation.epochs=1 --set evaluation.repeats=1 "$@"
}
learn start dm 0
learn pixels-start pixels-dm 0
learn static-only dm 0 --set synthetic.kind=static-only --set static.steps=20
for kind in "" pixels-; do
  learn "${kind}dm" "${kind}dm" 100
  learn "${kind}frepo" "${kind}frepo" 40 --set dynamic.frepo.pool=3 --set dynamic.frepo.batch_real=64
  learn "${kind}mtt" "${kind}mtt" 10 --set dynamic.mtt.syn_steps=5 --set dynamic.mtt.max_start_epoch=2 \
    --set experts.number=2 --set experts.batch=16
done
for run in start pixels-start static-only dm pixels-dm frepo pixels-frepo mtt pixels-mtt; do
  vdtui evaluate "$run$suffix" --protocol strict --epochs "$epochs" --repeats 3 --set evaluation.batch=4
done
