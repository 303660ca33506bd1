#!/usr/bin/env bash
# Starts and optimisers for every objective and parameterisation, on validation clips of the demo's data: what a few
# steps make of noise and of real clips, with the optimiser and rate of the paper and with ours.
# SEEDS="0 1" takes fewer than three.
# usage: docs/experiments/starts.sh demo.h5 [OUTPUT.jsonl [OBJECTIVE...]]       OBJECTIVE: dm mtt frepo; all by default
set -euo pipefail
data="$1" output="${2:-starts.jsonl}"
shift $(($# < 2 ? $# : 2))
[ $# -gt 0 ] || set -- dm mtt frepo

cell() { # steps, objective and memories, start, optimiser and rates: overrides, in words
  local words=() steps="$1"
  shift
  for word in $*; do words+=(--set "$word"); done
  echo "$steps steps: $*"
  python docs/experiments/rates.py --data "$data" --preset default --output "$output" --seeds ${SEEDS:-0 1 2} \
    --set evaluation.epochs=30 --set evaluation.batch=4 --set evaluation.selection_repeats=3 --set static.steps=0 \
    --set static.init=median --set dynamic.checkpoint_every=1000 --set "dynamic.steps=$steps" \
    --set "dynamic.eval_every=$steps" "${words[@]}"
}

pixels="synthetic.kind=pixels"
sgd="dynamic.optimiser=sgd dynamic.schedule=constant dynamic.train_static=false"
for objective in "$@"; do
  for start in noise residual; do
    init="dynamic.objective=$objective dynamic.init=$start"
    case "$objective" in
      dm)
        cell 100 "$init" "$sgd dynamic.lr_dynamic=1e-4 dynamic.lr_hallucinator=1e-5 dynamic.momentum=0.95"
        cell 100 "$init $pixels" "$sgd dynamic.lr_dynamic=30 dynamic.momentum=0.5"
        cell 100 "$init"
        cell 100 "$init $pixels"
        ;;
      mtt)
        init="$init dynamic.lr_hallucinator=1e-3 dynamic.mtt.syn_steps=5 dynamic.mtt.max_start_epoch=2"
        init="$init experts.number=2 experts.batch=16"
        cell 10 "$init" "$sgd dynamic.lr_dynamic=1e4 dynamic.momentum=0.5"
        cell 10 "$init $pixels" "$sgd dynamic.lr_dynamic=1e5 dynamic.momentum=0.5"
        cell 10 "$init"
        cell 10 "$init $pixels"
        ;;
      frepo)
        init="$init dynamic.lr_hallucinator=1e-3 dynamic.frepo.pool=3 dynamic.frepo.batch_real=64"
        init="$init synthetic.labels=learned"
        for memories in "" "$pixels"; do
          cell 40 "$init" "$memories" "dynamic.optimiser=adam dynamic.lr_dynamic=1e-3"
          cell 40 "$init" "$memories"
        done
        ;;
      *) echo "starts.sh: no objective $objective; there are dm, mtt, frepo" >&2 && exit 2 ;;
    esac
  done
done
