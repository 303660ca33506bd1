#!/usr/bin/env bash
# A short run of every objective on both parameterisations, on 12 classes of JHMDB. FILE.h5 is made by:
#   vdtui prepare hmdb51 --source JHMDB --output FILE.h5 --frames 8 --size 64
# Schedules are a small part of the published ones (hours otherwise on two cores). Nothing is held out and no iteration
# chosen: every run is judged at its end, beside its start (`start`, `pixels-start`: random real clips), by 3 networks
# on the test split, each trained for 60 passes in steps of 4 clips. A run that is there already is not made again.
# The table of all seeds: python docs/experiments/objectives_table.py RUNS
# usage: docs/experiments/objectives.sh FILE.h5 [RUNS [IPC [SEED [KIND...]]]]
# KIND: start dm pair two frepo mtt; all by default
set -euo pipefail
data="$1" ipc="${3:-1}" seed="${4:-0}"
export VDTUI_RUNS="${2:-runs-objectives}"
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- start dm pair two frepo mtt
run() { # name, preset, steps, more overrides
  local name="$1-ipc$ipc-seed$seed" preset="hmdb51-ipc$ipc-$2" steps="$3"
  shift 3
  [ -f "$VDTUI_RUNS/$name/report.html" ] ||
    vdtui distill --preset "$preset" --data "$data" --run "$name" --plain --set "run.seed=$seed" \
      --set dataset.frames=8 --set dataset.size=64 --set dataset.val_fraction=0 --set static.init=median \
      --set static.steps=0 --set "dynamic.steps=$steps" --set evaluation.epochs=1 --set evaluation.repeats=1 "$@"
  vdtui evaluate "$name" --protocol strict --epochs 60 --repeats 3 --set evaluation.batch=4
}
for kind in "$@"; do
  case "$kind" in
    start)
      run start dm 0
      run pixels-start pixels-dm 0
      run static-only dm 0 --set synthetic.kind=static-only --set static.init=frame --set static.steps=20 \
        --set static.batch_real=8
      ;;
    dm) for memories in "" pixels-; do run "${memories}dm" "${memories}dm" 100; done ;;
    pair) # one still and one dynamic memory an instance
      one=(--set synthetic.statics_per_instance=1 --set synthetic.dynamics_per_instance=1)
      run pair-start dm 0 "${one[@]}"
      run pair-dm dm 100 "${one[@]}"
      ;;
    two) # FRePo with two of each, as the others
      run two-frepo frepo 40 --set dynamic.frepo.pool=3 --set dynamic.frepo.batch_real=64 \
        --set synthetic.statics_per_instance=2 --set synthetic.dynamics_per_instance=2
      ;;
    frepo)
      run frepo-start frepo 0 # its presets pair one still with one dynamic memory, the others two with two
      for memories in "" pixels-; do
        run "${memories}frepo" "${memories}frepo" 40 --set dynamic.frepo.pool=3 --set dynamic.frepo.batch_real=64
      done
      ;;
    mtt)
      for memories in "" pixels-; do
        run "${memories}mtt" "${memories}mtt" 10 --set dynamic.mtt.syn_steps=5 --set dynamic.mtt.max_start_epoch=2 \
          --set experts.number=2 --set experts.batch=16
      done
      ;;
    *) echo "objectives.sh: no kind $kind; there are start, dm, pair, two, frepo, mtt" >&2 && exit 2 ;;
  esac
done
