# Sourced by tests/run.sh and examples/run.sh: installs the packages that are named and missing, on Debian and its
# relatives, as root or through sudo. Elsewhere, or without those rights, it says what is missing and goes on: CMake
# then stops at what it cannot do without and names what is turned off.

eosin_install_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "-- no apt-get here: the packages are taken as they are"
    return 0
  fi
  local missing=() package
  for package in "$@"; do
    if ! dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then missing+=("$package"); fi
  done
  if [ ${#missing[@]} -eq 0 ]; then return 0; fi

  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      echo "-- missing, and no right to install: ${missing[*]}"
      return 0
    fi
    as_root=(sudo -n)
  fi
  echo "-- installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  local log
  log=$(mktemp)
  "${as_root[@]}" apt-get update >"$log" 2>&1 </dev/null || tail -n 5 "$log"
  if ! "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
    # One package that cannot be had must not keep back the others.
    for package in "${missing[@]}"; do
      "${as_root[@]}" apt-get install -y --no-install-recommends "$package" >"$log" 2>&1 </dev/null ||
        { echo "-- $package could not be installed:"; tail -n 3 "$log"; }
    done
  fi
  rm -f "$log"
}
