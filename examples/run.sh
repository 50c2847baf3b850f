#!/usr/bin/env bash
# Builds the programs and runs the main job: CPNN on a simulated tissue, and on a real one where EOSIN_DATA names the
# folder of the data sets. From a fresh clone on a bare Debian 12 too:
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
reports=("simulated tissue: $PWD/results/simulated/report.html")

if [ -n "${EOSIN_DATA:-}" ]; then
  build/examples/cpnn run --samples "$EOSIN_DATA/her2st/samples.csv" --train B4,C2,C3,C4 --test C5 \
    --genes "$EOSIN_DATA/her2st/genes_785.txt" --out results/her2st-C5
  reports+=("her2st, section C5: $PWD/results/her2st-C5/report.html")
else
  echo "EOSIN_DATA is not set: the real tissue is left out"
fi

echo
echo "Reports:"
printf '  %s\n' "${reports[@]}"
