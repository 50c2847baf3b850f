#!/usr/bin/env bash
# Times the models' parts in eosin and the same work in PyTorch, in turn and in several rounds because the speed of a
# machine drifts, and prints both side by side:
#
#   bench/peers/run.sh [RESULTS.json]      default: results/benchmarks.json
#
#   PYTHON=python3     interpreter that has torch, and faiss to time retrieval against it
#   EOSIN_THREADS=2    threads of both
#   EOSIN_ROUNDS=3     how often everything runs; ratios are medians over the rounds
#   EOSIN_BENCH=FILE   the program eosin_bench; by default it is built by the preset `release`
#
# Takes about a quarter of an hour on two quiet cores. Nothing else should run meanwhile.

set -euo pipefail
exec </dev/null
start=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-python3}
if ! "$python" -c 'import torch' 2>/dev/null; then
  cat >&2 <<EOF
$python has no torch. Make an environment that has it, and name its interpreter:

  python3 -m venv ~/torch && ~/torch/bin/pip install torch numpy
  PYTHON=~/torch/bin/python $0
EOF
  exit 1
fi
results=${1:-results/benchmarks.json}
if [ $# -gt 0 ] && [ "${results#/}" = "$results" ]; then results=$start/$results; fi
mkdir -p "$(dirname "$results")"

program=${EOSIN_BENCH:-}
if [ -z "$program" ]; then
  cmake --preset release >/dev/null
  cmake --build --preset release --target eosin_bench --parallel "${EOSIN_JOBS:-$(nproc)}"
  program=build/bench/eosin_bench
fi

export EOSIN_THREADS=${EOSIN_THREADS:-2}
rounds=${EOSIN_ROUNDS:-3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# in_turn ROUND GROUP FILTER SCRIPT ITEM...: a part of eosin_bench, then the same work of a peer.
in_turn() {
  local round=$1 group=$2 filter=$3 script=$4
  shift 4
  mkdir -p "$folder/$round"
  # A CBLAS must not open threads of its own inside eosin's.
  MKL_NUM_THREADS=1 BLIS_NUM_THREADS=1 "$program" --benchmark_filter="$filter" \
    --benchmark_out="$folder/$round/eosin-$group.json" --benchmark_out_format=json --benchmark_counters_tabular=true
  "$python" "bench/peers/$script" "$@" | tee -a "$folder/$round/torch.jsonl"
}

# GROUP FASTEST FILTER SCRIPT ITEM...: in the first round every backend (@) runs, in the others the one that was fastest as
# FASTEST, the name of a benchmark, or all of the group where that is '-'.
groups=(
  'slide cpnn_slide_step/D:512@/float ^cpnn_slide_step/D:512/@/ cpnn_torch.py slide_512'
  "loss - ^negative_binomial_gradients/.*threads:$EOSIN_THREADS/ cpnn_torch.py negative_binomial"
  'patch cpnn_patch_step ^cpnn_patch_(head|step)/@/ cpnn_torch.py patch'
  'contrast info_nce/4096 ^info_nce/4096/@/ contrastive_torch.py info_nce_4096'
  'retrieval - ^retrieval_ contrastive_torch.py retrieval'
  'attention - ^attention/n:4096/ transformer_torch.py attention'
  'spots spot_branch/compact ^spot_branch/.*/@/ transformer_torch.py spot_branch'
  'images densenet_step/images:16 ^densenet_(forward|gradient|step/images:16)/@/ vision_torch.py densenet'
)
declare -A backend
for round in $(seq "$rounds"); do
  echo "round $round of $rounds, $EOSIN_THREADS threads"
  for group in "${groups[@]}"; do
    read -r name lead filter script items <<<"$group"
    in_turn "$round" "$name" "${filter//@/${backend[$name]:-[^/]*}}" "$script" $items
    if [ "$lead" != - ] && [ "$round" = 1 ]; then
      backend[$name]=$("$python" bench/peers/compare.py --fastest "$folder/1/eosin-$name.json" "$lead")
    fi
  done
  if [ "$round" = 1 ]; then # what is of interest for its size, or as a rate, runs once
    in_turn 1 once '^(gemm/|cpnn_slide_step/D:1536/|info_nce/(128|32768)/|attention/n:16384/|densenet_step/images:32/)' \
      cpnn_torch.py slide_1536 products
    "$python" bench/peers/contrastive_torch.py info_nce_128 | tee -a "$folder/1/torch.jsonl"
  fi
done
echo
"$python" bench/peers/compare.py "$folder" "$results"
echo "all figures: $results"
