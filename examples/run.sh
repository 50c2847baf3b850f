#!/usr/bin/env bash
# Builds the programs and runs the main job: CPNN and mclSTExp on a simulated tissue, and on a real one where EOSIN_DATA
# names the folder of the data sets. From a fresh clone on a bare Debian 12 too:
#
#   examples/run.sh
#
# Ends by saying where the reports lie.

set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. cmake/install-packages.sh
eosin_install_packages cmake ninja-build g++ libeigen3-dev doctest-dev nlohmann-json3-dev libcli11-dev zlib1g-dev \
  libhdf5-dev libjpeg-dev libpng-dev libbenchmark-dev libdnnl-dev libopenblas-dev

cmake --preset release
cmake --build --preset release --target examples/all --parallel "${EOSIN_JOBS:-$(nproc)}"

mkdir -p results
build/examples/cpnn run --simulate 1 --out results/simulated
build/examples/mclstexp run --simulate 1 --out results/simulated-mclstexp
reports=("simulated tissue, cpnn: $PWD/results/simulated/report.html"
  "simulated tissue, mclstexp: $PWD/results/simulated-mclstexp/report.html")

if [ -n "${EOSIN_DATA:-}" ]; then
  sections=(--samples "$EOSIN_DATA/her2st/samples.csv" --train B4,C2,C3,C4 --test C5
    --genes "$EOSIN_DATA/her2st/genes_785.txt")
  build/examples/cpnn run "${sections[@]}" --out results/her2st-C5
  # Shortened, so that all of this stays below five minutes on two cores: the default is 90 epochs and 4 folds.
  echo "mclstexp on her2st: 30 epochs, 2 folds"
  build/examples/mclstexp run "${sections[@]}" --encoder features --epochs 30 --folds 2 --out results/her2st-C5-mclstexp
  reports+=("her2st, section C5, cpnn: $PWD/results/her2st-C5/report.html"
    "her2st, section C5, mclstexp: $PWD/results/her2st-C5-mclstexp/report.html")
else
  echo "EOSIN_DATA is not set: the real tissue is left out"
fi

echo
echo "Reports:"
printf '  %s\n' "${reports[@]}"
