#!/usr/bin/env bash
# Builds everything and runs every test, from a fresh clone on a bare Debian 12 too:
#
#   tests/run.sh
#
#   EOSIN_TEST_SANITIZERS=0   leaves out the sanitizer builds
#   EOSIN_DATA=DIR            folder of the real data sets; without it their tests are skipped and say so
#   EOSIN_JOBS=N              parallel compilations (default: number of processors)
#
# Ends with every skip and its reason, then 'N passed, N failed, N skipped'; exits 1 on any failure.

set -uo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
jobs=${EOSIN_JOBS:-$(nproc)}

. cmake/install-packages.sh
eosin_install_packages cmake ninja-build g++ ccache clang libeigen3-dev doctest-dev nlohmann-json3-dev libcli11-dev \
  zlib1g-dev libhdf5-dev libjpeg-dev libpng-dev libbenchmark-dev libdnnl-dev libopenblas-dev

failures=()
logs=()
skips=()
say() { printf '\n== %s (%d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

# build PRESET: configures and builds all but the benchmarks, which bench/peers/run.sh builds; what does not compile is a failure, the rest is still tested.
build() {
  say "build $1"
  if ! cmake --preset "$1" -D EOSIN_BUILD_BENCHMARKS=OFF >"$log" 2>&1; then
    cat "$log"
    failures+=("configure $1")
    return 1
  fi
  grep -E 'eosin: ' "$log"
  if ! cmake --build --preset "$1" --parallel "$jobs" -- -k 0 >"$log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking)|^ninja: |ccache' "$log" | head -n 200
    failures+=("build $1")
  fi
}

# check PRESET FOLDER [LAUNCHER...]: runs its tests.
check() {
  local preset=$1 folder=$2 result
  shift 2
  say "test $preset"
  rm -f "$folder/Testing/Temporary/LastTest.log"
  # A program that was not built is one line, not the list of where it was looked for.
  "$@" ctest --preset "$preset" --parallel "$jobs" --no-tests=error 2>&1 |
    grep -vE '^Looked in the following places|^Could not find executable|^/?[^ ]*/eosin_[a-z_]+$|^ *Start +[0-9]+:'
  result=${PIPESTATUS[0]}
  if [ -f "$folder/Testing/Temporary/LastTest.log" ]; then
    logs+=("$folder/Testing/Temporary/LastTest.log")
    if [ $result -ne 0 ] && [ ! -s "$folder/Testing/Temporary/LastTestsFailed.log" ]; then failures+=("ctest $preset"); fi
  else
    failures+=("ctest $preset ran nothing")
  fi
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A file of an earlier run must not speak for this one.
rm -f build{,-asan,-tsan}/Testing/Temporary/LastTestsFailed.log

build release && check release build

if [ "${EOSIN_TEST_SANITIZERS:-1}" = 0 ]; then
  skips+=("SKIPPED address and undefined-behaviour sanitizers: EOSIN_TEST_SANITIZERS=0"
    "SKIPPED thread sanitizer: EOSIN_TEST_SANITIZERS=0")
else
  export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
  # The fibers on which kernels are emulated look to it like work inside of a signal.
  export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:report_signal_unsafe=0}
  build asan && check asan build-asan
  # The thread sanitizer of GCC 12 does not know the widest address layouts of newer kernels.
  fixed_addresses=()
  if setarch -R true 2>/dev/null; then fixed_addresses=(setarch -R); fi
  build tsan && check tsan build-tsan "${fixed_addresses[@]}"
fi

say "result"
passed=0 failed=0 skipped=0
if [ ${#logs[@]} -gt 0 ]; then
  summary=$(awk -f cmake/count-tests.awk "${logs[@]}")
  printf '%s\n' "$summary" | sed '$d'
  read -r passed failed skipped < <(printf '%s\n' "$summary" | tail -n 1)
fi
for failure in "${failures[@]+"${failures[@]}"}"; do echo "FAILED $failure"; done
for skip in "${skips[@]+"${skips[@]}"}"; do echo "$skip"; done
failed=$((failed + ${#failures[@]}))
skipped=$((skipped + ${#skips[@]}))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
