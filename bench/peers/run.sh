#!/usr/bin/env bash
# Times the models' parts in eosin and the same work in PyTorch, one after the other, and prints both side by side:
#
#   bench/peers/run.sh [RESULTS.json]      default: results/benchmarks.json
#
#   PYTHON=python3     interpreter that has torch, and faiss to time retrieval against it
#   EOSIN_THREADS=2    threads of both
#   EOSIN_BENCH=FILE   the program eosin_bench; by default it is built by the preset `release`
#
# Takes about five minutes on two quiet cores. Nothing else should run meanwhile.

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
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
echo "eosin, $EOSIN_THREADS threads"
# A CBLAS must not open threads of its own inside eosin's.
MKL_NUM_THREADS=1 BLIS_NUM_THREADS=1 "$program" \
  --benchmark_filter='^(gemm|cpnn_|softmax_|info_nce|retrieval_|attention/|spot_branch/|negative_binomial_gradients/|densenet_)' --benchmark_out="$folder/eosin.json" \
  --benchmark_out_format=json --benchmark_counters_tabular=true
echo
echo "PyTorch, $EOSIN_THREADS threads"
"$python" bench/peers/cpnn_torch.py | tee "$folder/torch.jsonl"
"$python" bench/peers/contrastive_torch.py | tee -a "$folder/torch.jsonl"
"$python" bench/peers/transformer_torch.py | tee -a "$folder/torch.jsonl"
"$python" bench/peers/vision_torch.py | tee -a "$folder/torch.jsonl"
echo
"$python" bench/peers/compare.py "$folder/eosin.json" "$folder/torch.jsonl" "$results"
echo "all figures: $results"
