#!/usr/bin/env bash
# Times the kernels and training steps on the CUDA device, then the same work in PyTorch where it has a device:
#
#   bench/cuda/run.sh [FILTER]
#
#   PYTHON=python3   interpreter that has torch with CUDA; without it eosin alone is timed
#
# Where no device is found it prints bytes, operations and the least time on an H200 instead. Needs nvcc.

set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cmake --preset release -D EOSIN_CUDA=ON >/dev/null
cmake --build --preset release --target eosin_cuda_bench --parallel "${EOSIN_JOBS:-$(nproc)}"
program=build/bench/eosin_cuda_bench
if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "no CUDA device is found: what the work needs at least"
  exec "$program" --predict "$@"
fi
"$program" "$@"

python=${PYTHON:-python3}
if "$python" -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  "$python" bench/cuda/torch_rows.py
else
  echo "$python has no torch with CUDA: PyTorch is not timed"
fi
