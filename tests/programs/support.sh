# What the scripts of this folder share. Sourced by PROGRAM.sh, whose argument is the path of the program: checks it,
# makes a temporary folder, goes there and removes it at the end. Prints a line per check: `ok NAME`, `FAIL NAME: detail`
# or `SKIPPED NAME: reason`; `finish` ends with exit status 1 if a check failed.
set -u
export LC_ALL=C

program_name=$(basename "$0" .sh)
if [ $# -ne 1 ] || [ ! -x "$1" ]; then
  echo "usage: $0 PATH_OF_${program_name^^}" >&2
  exit 2
fi
program=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/golden
images=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/fuzz/corpus/image
# Every file is forced to the disk, which takes most of the time; in memory, where there is a GiB of it, it takes none.
if [ -z "${TMPDIR:-}" ] && [ -d /dev/shm ] && [ -w /dev/shm ] &&
  [ "$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)" -ge 1048576 ] 2>/dev/null; then TMPDIR=/dev/shm; fi
work=$(mktemp -d -p "${TMPDIR:-/tmp}") || exit 1
child=
cleanup() {
  [ -n "$child" ] && kill -9 "$child" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1

# ---- Checks ---------------------------------------------------------------------------------------------------------

failed=0
ok() { echo "ok $1"; }
fail() {
  echo "FAIL $1: $2"
  failed=$((failed + 1))
}
skipped() { echo "SKIPPED $1: $2"; }
# check NAME DETAIL CONDITION...: the condition is a command.
check() {
  local name=$1 detail=$2
  shift 2
  if "$@" >/dev/null 2>&1; then ok "$name"; else fail "$name" "$detail"; fi
}
all_words() {  # every further argument occurs in the file
  local file=$1 word
  shift
  for word; do grep -qF -- "$word" "$file" || return 1; done
}
none_left() { [ -z "$(find "$1" -name '*.part-*' 2>/dev/null)" ]; }
same_table() { cmp <(zcat "$1") <(zcat "$2"); }

# Every option given anywhere, to see at the end that none was forgotten.
: >used
# Runs the program; standard output in ./stdout, standard error in ./stderr, status in $status. Commands that are named in
# one_thread_of get one thread where nothing is said: small samples leave a second one nothing but waiting.
one_thread_of=
run_it() {
  local threads=()
  printf '%s\n' "$@" >words
  grep -oE '^--[a-z0-9-]+' words >>used
  if [ -n "$one_thread_of" ] && grep -qxE "$one_thread_of" words && ! grep -qxE -- '--threads|--help' words; then
    threads=(--threads 1)
  fi
  timeout 250 "$program" "$@" ${threads[@]+"${threads[@]}"} >stdout 2>stderr
  status=$?
}
last_error() { tail -n 1 stderr; }
# every_option_used HELP...: the files hold what --help says.
every_option_used() {
  local option
  for option in $(grep -ohE '^  (-h,)?--[a-z0-9-]+' "$@" | grep -oE -- '--[a-z0-9-]+' | sort -u); do
    check "option$option" "no check uses it" grep -qxF -- "$option" used
  done
}
finish() {
  [ "$failed" -gt 0 ] && echo "$failed checks failed"
  [ "$failed" = 0 ]
}

usage() {  # NAME ARGUMENTS...
  local name=$1
  shift
  rm -rf out
  run_it "$@"
  if [ "$status" != 2 ]; then fail "usage/$name" "status $status, expected 2: $(last_error)"
  elif [ ! -s stderr ]; then fail "usage/$name" "nothing on standard error"
  elif [ -e out ]; then fail "usage/$name" "the folder of results was made"
  else ok "usage/$name"; fi
}

# bad NAME WORDS ARGUMENTS...: status 1, one line on standard error that starts with the program's name and has all WORDS
# (separated by |), and no results.
also_writes=()  # options that name further results
bad() {
  local check=$1 words=$2 word detail=
  shift 2
  rm -rf out out.*
  run_it "$@" --quiet --out out ${also_writes[@]+"${also_writes[@]}"}
  if [ "$status" != 1 ]; then detail="status $status, expected 1: $(last_error)"
  elif [ "$(wc -l <stderr)" != 1 ]; then detail="$(wc -l <stderr) lines on standard error: $(head -c 300 stderr)"
  elif ! grep -q "^$program_name: " stderr; then detail="not a message of $program_name: $(cat stderr)"
  elif [ -s stdout ]; then detail="something on standard output: $(head -n 1 stdout)"
  elif [ -n "$(find . -maxdepth 1 \( -name out -o -name 'out.*' \))" ]; then detail="results were made ($(cat stderr))"; fi
  local IFS='|'
  for word in $words; do
    [ -z "$detail" ] && ! grep -qF -- "$word" stderr && detail="'$word' is not in the message: $(cat stderr)"
  done
  if [ -n "$detail" ]; then fail "bad/$check" "$detail"; else ok "bad/$check"; fi
}
at_cell() { awk -F"$1" -v OFS="$1" -v row="$2" -v col="$3" -v text="$4" 'NR == row { $col = text } { print }'; }

# ---- Programs that learn from sections ------------------------------------------------------------------------------

# make_samples FOLDER: samples.csv and its files. Expression follows the composition, features follow it with noise.
make_samples() {
  mkdir -p "$1"/{counts,spots,features,compositions}
  awk -v folder="$1" '
    function random() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 }
    function noise() { return random() + random() + random() + random() - 2 }
    BEGIN {
      seed = 42; names = "ABCD"; genes = 30; types = 3
      for (t = 0; t < types; ++t)
        for (g = 0; g < genes; ++g) profile[t, g] = (g == t ? 0 : 0.2 + random()) * (g % types == t ? 6 : 1)
      for (s = 1; s <= 4; ++s) {
        name = substr(names, s, 1)
        counts = folder "/counts/" name ".tsv"; spots = folder "/spots/" name ".tsv"
        features = folder "/features/" name ".csv"; compositions = folder "/compositions/" name ".csv"
        printf "" > counts
        for (g = 0; g < genes; ++g) printf "\tG%02d", g > counts
        printf "\n" > counts
        print "x\ty\tpixel_x\tpixel_y\tselected" > spots
        print "spot,f1,f2,f3,f4,f5,f6" > features
        print "spot,alpha,beta,gamma" > compositions
        for (y = 1; y <= 5; ++y)
          for (x = 1; x <= 8; ++x) {
            spot = x "x" y
            sum = 0
            for (t = 0; t < types; ++t) sum += share[t] = 0.05 + random() * (((x + s + t * 2) % 6 < 3) ? 1 : 0.2)
            printf "%s", spot > counts
            depth = 1 + random()
            for (g = 0; g < genes; ++g) {
              mean = 0
              for (t = 0; t < types; ++t) mean += share[t] / sum * profile[t, g]
              value = int(mean * depth * (1 + 0.3 * noise()) * 2 + random())
              printf "\t%d", value > counts
            }
            printf "\n" > counts
            printf "%d\t%d\t%d\t%d\t1\n", x, y, 30 * x, 30 * y > spots
            printf "%s", spot > features
            for (f = 0; f < 6; ++f) printf ",%.5f", share[f % types] / sum * (1 + f) + 0.2 * noise() > features
            printf "\n" > features
            printf "%s,%.4f,%.4f,%.4f\n", spot, share[0] / sum, share[1] / sum, share[2] / sum > compositions
          }
        close(counts); close(spots); close(features); close(compositions)
      }
    }'
  gzip "$1/counts/B.tsv"
  cat >"$1/samples.csv" <<END
sample,patient,counts,spots,image,features,composition
A,P1,counts/A.tsv,spots/A.tsv,,features/A.csv,compositions/A.csv
B,P1,counts/B.tsv.gz,spots/B.tsv,,features/B.csv,compositions/B.csv
C,P2,counts/C.tsv,spots/C.tsv,,features/C.csv,
D,P3,counts/D.tsv,spots/D.tsv,,features/D.csv,compositions/D.csv
END
}

block() {  # the results of a method: block FILE METHOD
  awk -v method="\"method\": \"$2\"" '/^  \{/ { text = ""; inside = 1 } inside { text = text $0 "\n" }
    /^  \}/ { if (index(text, method)) printf "%s", text; inside = 0 }' "$1"
}
same_members() {  # the member files of two runs
  local file
  [ "$(ls "$1"/model/member-*.safetensors | wc -l)" = "$(ls "$2"/model/member-*.safetensors | wc -l)" ] || return 1
  for file in "$1"/model/member-*.safetensors; do cmp "$file" "$2/model/$(basename "$file")" || return 1; done
}
# Starts the program in the background with results in killed/, sends SIGNAL when the log there has LINES lines. Status in
# $status.
start_and_signal() {
  local signal=$1 lines=$2 i
  shift 2
  "$program" "$@" >stdout 2>stderr &
  child=$!
  for i in $(seq 3000); do
    [ "$(cat killed/log.jsonl 2>/dev/null | wc -l)" -ge "$lines" ] && break
    kill -0 "$child" 2>/dev/null || break
    sleep 0.01
  done
  kill "-$signal" "$child" 2>/dev/null
  wait "$child" 2>/dev/null
  status=$?
  child=
}
each_epoch_once() {  # FOLDER EPOCHS: of all members
  [ "$(wc -l <"$1/log.jsonl")" = "$2" ] &&
    [ "$(grep -oE '"member":[0-9]+,"epoch":[0-9]+' "$1/log.jsonl" | sort -u | wc -l)" = "$2" ]
}
# works NAME ARGUMENTS...: a short run ends well, with finite predictions and numbers for the model.
works() {
  local check=$1 detail=
  shift
  rm -rf out
  run_it "$@" --quiet --out out
  if [ "$status" != 0 ]; then detail="status $status: $(last_error)"
  elif [ ! -s out/metrics.json ] || [ ! -s out/report.html ]; then detail="results are missing"
  elif [ -s stderr ]; then detail="it said: $(head -n 1 stderr)"
  elif block out/metrics.json "$program_name" | grep -Eq '"(mse|mae|pearson_gene_mean)": null'; then detail="a number is not finite"
  elif find out -name '*.csv.gz' -exec zcat {} + | cut -d, -f2- | grep -qiE '(^|,)-?(nan|inf)'; then
    detail="a prediction is not finite"
  elif ! none_left out; then detail="temporary files are left"; fi
  if [ -n "$detail" ]; then fail "$check" "$detail"; else ok "$check"; fi
}
