#!/usr/bin/env bash
# The program prototypes from outside: its files, its switches, and what it says to bad input.
#
#   tests/programs/prototypes.sh PATH_OF_PROTOTYPES
#
# Makes small counts of its own (80 cells, 24 genes, 3 types, 2 batches) in a temporary folder; the published data sets
# are used where EOSIN_DATA is set. Prints a line per check: `ok NAME`, `FAIL NAME: detail` or `SKIPPED NAME: reason`. Exit
# status 1 if a check failed.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
also_writes=(--h5ad out.h5ad)

# ---- Data -----------------------------------------------------------------------------------------------------------

# 24 genes x 80 cells, three types in two batches. Gene G00 has no counts, G01 none in type Mono, G02 none in batch b2;
# batch b2 doubles G03. Cell c80 has no type, c79 no batch.
mkdir -p data
awk '
  function random() { seed = (seed * 16807) % 2147483647; return seed / 2147483647 }
  BEGIN {
    seed = 42; genes = 24; cells = 80; entries = 0
    split("B Mono T", names, " ")
    print "cell\ttype\tbatch\tsex\tdepth\tkeep" > "data/cells.tsv"
    printf "" > "data/barcodes.tsv"
    for (c = 1; c <= cells; ++c) {
      t = 1 + int(random() * 3); b = 1 + int(random() * 2); depth = 0.5 + random()
      line = sprintf("c%02d\t%s\tb%d\t%s\t%.6f\t%s", c, (c == 80 ? "" : names[t]), b, (random() < 0.5 ? "f" : "m"), depth,
        (c % 5 ? "yes" : "no"))
      print line > "data/cells.tsv"
      printf "c%02d\n", c > "data/barcodes.tsv"
      for (g = 0; g < genes; ++g) {
        mean = 4 * depth * (g % 3 + 1 == t ? 4 : 1)
        if (g == 0 || (g == 1 && t == 2) || (g == 2 && b == 2)) mean = 0
        if (g == 3 && b == 2) mean *= 2
        value = int(mean * (random() + random()) + random() * 0.9)
        if (mean == 0) value = 0
        count[g, c] = value
        if (value > 0) ++entries
      }
    }
    print "%%MatrixMarket matrix coordinate integer general\n" genes, cells, entries > "data/matrix.mtx"
    print "%%MatrixMarket matrix coordinate integer general\n" cells, genes, entries > "data/flat.mtx"
    for (c = 1; c <= cells; ++c)
      for (g = 0; g < genes; ++g)
        if (count[g, c] > 0) {
          print g + 1, c, count[g, c] > "data/matrix.mtx"
          print c, g + 1, count[g, c] > "data/flat.mtx"
        }
    for (g = 0; g < genes; ++g) {
      printf "G%02d\tsymbol%d\n", g, g > "data/features.tsv"
      printf "G%02d", g > "data/rows"
      for (c = 1; c <= cells; ++c) printf ",%d", count[g, c] > "data/rows"
      printf "\n" > "data/rows"
    }
    printf "" > "data/header"
    for (c = 1; c <= cells; ++c) printf "%sc%02d", (c == 1 ? "" : ","), c > "data/header"
    printf "\n" > "data/header"
  }'
cat data/header data/rows >data/counts.csv  # as R writes it: no corner
awk -F'\t' -v OFS='\t' 'NR == 80 { $3 = "NA" } { print }' data/cells.tsv >t && mv t data/cells.tsv
awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; ++i) cell[i] = $i; n = NF; next }
  { gene[NR - 1] = $1; for (i = 2; i <= NF; ++i) value[i - 1, NR - 1] = $i; m = NR - 1 }
  END { printf "cell"; for (g = 1; g <= m; ++g) printf ",%s", gene[g]; printf "\n"
        for (c = 1; c <= n; ++c) { printf "%s", cell[c]; for (g = 1; g <= m; ++g) printf ",%d", value[c, g]; printf "\n" } }' \
  data/counts.csv >data/cells-by-genes.csv
gzip -k data/matrix.mtx data/counts.csv
mkdir bare folder
cp data/matrix.mtx bare/counts.mtx  # nothing beside it
cp data/flat.mtx bare/flat.mtx
cp data/matrix.mtx.gz data/features.tsv data/barcodes.tsv folder
gzip folder/features.tsv folder/barcodes.tsv
common=(fit --counts data/matrix.mtx --cells data/cells.tsv --label-column type)

# ---- Usage ----------------------------------------------------------------------------------------------------------

run_it --help
check help/program "status $status" test "$status" = 0
run_it fit --help
cp stdout help_fit
check help/fit "status $status" test "$status" = 0
check help/fit-words "a word is missing" all_words stdout "default: total" "default: cox-reid" "2GiB" COLUMN=VALUE \
  genes-by-cells "=X" threads
run_it evaluate --help
cp stdout help_evaluate
check help/evaluate "status $status" test "$status" = 0
run_it --version
check help/version "status $status: $(cat stdout)" grep -Eq '^prototypes [0-9]+\.[0-9]+' stdout

usage no-command
usage unknown-command estimate
usage unknown-option "${common[@]}" --out out --colour red
usage no-out "${common[@]}"
usage no-counts fit --cells data/cells.tsv --label-column type --out out
usage no-label-column fit --counts data/matrix.mtx --cells data/cells.tsv --out out
usage cells-without-partner "${common[@]}" --cells data/cells.tsv --out out
usage too-many-features "${common[@]}" --features data/features.tsv --features data/features.tsv --out out
usage unknown-dispersion "${common[@]}" --dispersion bayes --out out
usage negative-dispersion "${common[@]}" --dispersion fixed:-1 --out out
usage nan-dispersion "${common[@]}" --dispersion fixed:nan --out out
usage dispersion-without-file "${common[@]}" --dispersion file: --out out
usage unknown-size-factors "${common[@]}" --size-factors upper-quartile --out out
usage size-factors-without-column "${common[@]}" --size-factors column: --out out
usage where-without-value "${common[@]}" --where keep --out out
usage unknown-orientation "${common[@]}" --orientation upright --out out
usage memory-words "${common[@]}" --memory lots --out out
usage negative-memory "${common[@]}" --memory -1GiB --out out
usage too-many-threads "${common[@]}" --threads 1000000 --out out
usage hold-out-all evaluate --counts data/matrix.mtx --cells data/cells.tsv --label-column type --hold-out 1
usage negative-hold-out evaluate --counts data/matrix.mtx --cells data/cells.tsv --label-column type --hold-out -0.1

# ---- Files ----------------------------------------------------------------------------------------------------------

run_it "${common[@]}" --batch-column batch --threads 1 --out first
check fit/status "status $status: $(last_error)" test "$status" = 0
for file in coefficients.csv standard_errors.csv prototypes.csv genes.csv markers.csv summary.json; do
  check "fit/writes-$file" "is missing or empty" test -s "first/$file"
done
check fit/no-temporary-files "$(find first -name '*.part-*')" none_left first
check fit/says-what-was-dropped "$(cat stderr)" all_words stderr "1 cells without a label" "1 cells without a batch" \
  "78 of 80 cells"
number() { grep -oE "\"$2\": [0-9.e+-]+" "$1/summary.json" | head -n 1 | sed 's/.*: //'; }
check fit/summary-cells "used $(number first used), without label $(number first without_label)" \
  test "$(number first in_counts)" = 80 -a "$(number first without_label)" = 1 -a "$(number first without_batch)" = 1 \
  -a "$(number first used)" = 78
check fit/summary-seconds "no seconds" grep -A3 '"seconds": {' first/summary.json
for key in read fit write; do
  check "fit/summary-$key" "is no number" test -n "$(sed -n '/"seconds"/,$p' first/summary.json | grep -E "\"$key\": [0-9]")"
done
check fit/summary-version "is missing" grep -q '"version": "[0-9]' first/summary.json
check fit/coefficients-header "$(head -n 1 first/coefficients.csv)" \
  test "$(head -n 1 first/coefficients.csv)" = "gene,type:B,type:Mono,type:T,batch:b1,batch:b2"
check fit/errors-header "$(head -n 1 first/standard_errors.csv)" \
  test "$(head -n 1 first/standard_errors.csv)" = "gene,type:B,type:Mono,type:T,batch:b1,batch:b2"
check fit/prototypes-header "$(head -n 1 first/prototypes.csv)" test "$(head -n 1 first/prototypes.csv)" = "gene,B,Mono,T"
check fit/genes-header "$(head -n 1 first/genes.csv)" test "$(head -n 1 first/genes.csv | cut -d, -f1-7)" = \
  "gene,mean,dispersion,deviance,log_likelihood,iterations,status"
check fit/order-of-genes "$(cut -d, -f1 first/genes.csv | head -n 4 | tr '\n' ' ')" \
  cmp <(cut -d, -f1 first/genes.csv | tail -n +2) <(cut -f1 data/features.tsv)
row() { grep "^$2," "first/$1.csv"; }
check fit/no-counts "$(row coefficients G00)" test "$(row coefficients G00 | cut -d, -f1-4)" = "G00,-inf,-inf,-inf"
check fit/no-counts-errors "$(row standard_errors G00)" test "$(row standard_errors G00 | cut -d, -f2-4)" = ",,"
check fit/no-counts-prototype "$(row prototypes G00)" test "$(row prototypes G00)" = "G00,0,0,0"
check fit/no-counts-status "$(row genes G00)" test "$(row genes G00 | cut -d, -f7)" = no_counts
check fit/zero-type "$(row coefficients G01)" test "$(row coefficients G01 | cut -d, -f3)" = -inf
check fit/zero-type-prototype "$(row prototypes G01)" test "$(row prototypes G01 | cut -d, -f3)" = 0
check fit/zero-batch "$(row coefficients G02)" test "$(row coefficients G02 | cut -d, -f5,6)" = "0,-inf"
check fit/zero-batch-prototypes "$(row prototypes G02)" test -z "$(row prototypes G02 | grep -E ',(0|)(,|$)')"
check fit/reference "$(row coefficients G03)" test "$(row coefficients G03 | cut -d, -f5)" = 0
check fit/batch-effect "$(row coefficients G03)" \
  test "$(row coefficients G03 | awk -F, '{ print ($6 > 0.4 && $6 < 1.0) }')" = 1
check fit/seventeen-digits "$(row coefficients G03)" \
  test "$(row coefficients G03 | cut -d, -f2 | tr -d '.-' | sed 's/e.*//; s/^0*//' | wc -c)" -ge 16
check fit/numbers "a number is not one" test -z "$(cut -d, -f2- first/*.csv | grep -iE '(^|,)[+-]?nan(,|$)' | head -n 1)"
check fit/markers "$(grep '^type:B' first/markers.csv | head -n 3 | tr '\n' ' ')" \
  test "$(grep '^type:B' first/markers.csv | head -n 5 | cut -d, -f2 | tr -d G | awk '{ n += $1 % 3 == 0 } END { print n }')" = 5

# ---- The same numbers again -----------------------------------------------------------------------------------------

same() { # two folders hold the same tables
  local file
  for file in coefficients standard_errors prototypes genes markers; do cmp "$1/$file.csv" "$2/$file.csv" || return 1; done
}
again() {  # NAME ARGUMENTS...: the same results as the first run
  local name=$1
  shift
  rm -rf out
  run_it fit --label-column type --batch-column batch --quiet --out out "$@"
  if [ "$status" != 0 ]; then fail "same/$name" "status $status: $(last_error)"
  elif [ -s stdout ] || [ -s stderr ]; then fail "same/$name" "it said: $(cat stdout stderr | head -n 1)"
  elif ! same first out >/dev/null; then fail "same/$name" "the tables differ"
  else ok "same/$name"; fi
}
again threads --counts data/matrix.mtx --cells data/cells.tsv --threads 2
again gzip --counts data/matrix.mtx.gz --cells data/cells.tsv
again features --counts bare/counts.mtx --features data/features.tsv --cells data/cells.tsv
again cells-by-genes --counts bare/flat.mtx --features data/features.tsv --cells data/cells.tsv
again orientation --counts bare/flat.mtx --features data/features.tsv --cells data/cells.tsv --orientation cells-by-genes
again folder --counts folder --cells data/cells.tsv
again csv --counts data/counts.csv.gz --cells data/cells.tsv
again csv-cells-by-genes --counts data/cells-by-genes.csv --cells data/cells.tsv
again little-memory --counts data/matrix.mtx --cells data/cells.tsv --memory 1
check same/little-memory-file "$(grep temporary_file out/summary.json)" test "$(number out memory_bytes)" = 1
(head -n 1 data/cells.tsv; tail -n +2 data/cells.tsv | sort -r) >data/reversed.tsv
again order-of-cells-file --counts folder --cells data/reversed.tsv
(head -n 2 data/matrix.mtx; tail -n +3 data/matrix.mtx | sort -R --random-source=data/matrix.mtx) >bare/unordered.mtx
again unordered --counts bare/unordered.mtx --features data/features.tsv --cells data/cells.tsv

# ---- Every switch ---------------------------------------------------------------------------------------------------

works() {  # NAME ARGUMENTS...
  local name=$1 detail=
  shift
  rm -rf out
  run_it "$@" --quiet --out out
  if [ "$status" != 0 ]; then detail="status $status: $(last_error)"
  elif [ ! -s out/summary.json ] || [ ! -s out/markers.csv ]; then detail="results are missing"
  elif [ -s stderr ]; then detail="it said: $(head -n 1 stderr)"
  elif cut -d, -f2- out/*.csv | grep -qiE '(^|,)[+-]?nan(,|$)'; then detail="a number is not one"
  elif ! none_left out; then detail="temporary files are left"; fi
  if [ -n "$detail" ]; then fail "$name" "$detail"; else ok "$name"; fi
}
batched=("${common[@]}" --batch-column batch)
works switch/no-batch "${common[@]}"
check switch/no-batch-columns "$(head -n 1 out/coefficients.csv)" \
  test "$(head -n 1 out/coefficients.csv)" = "gene,type:B,type:Mono,type:T"
for word in total normed-sum poscounts column:depth; do
  works "switch/size-factors-$word" "${batched[@]}" --size-factors "$word"
done
for word in cox-reid cox-reid-plugin ml shrunken fixed:0 fixed:0.25; do
  works "switch/dispersion-$word" "${batched[@]}" --dispersion "$word"
done
check switch/dispersion-fixed-value "$(sed -n 5p out/genes.csv)" test "$(sed -n 5p out/genes.csv | cut -d, -f3)" = 0.25
works switch/covariates "${batched[@]}" --covariates sex
check switch/covariates-columns "$(head -n 1 out/coefficients.csv)" \
  grep -Eq '^gene,type:B,type:Mono,type:T,batch:[^,]*,batch:[^,]*,sex:[^,]*,sex:[^,]*$' out/coefficients.csv
works switch/dispersion-file "${batched[@]}" --dispersion file:first/genes.csv
check switch/dispersion-file-values "the dispersions are others" \
  cmp <(cut -d, -f1,3 first/genes.csv) <(cut -d, -f1,3 out/genes.csv)
works switch/where "${batched[@]}" --where keep=yes
check switch/where-count "$(number out left_out_by_where)" test "$(number out left_out_by_where)" = 16
works switch/where-two-values "${batched[@]}" --where type=B --where type=T --where keep=yes
check switch/where-two-values-types "$(head -n 1 out/prototypes.csv)" test "$(head -n 1 out/prototypes.csv)" = "gene,B,T"
printf 'G07\nG03\n\nNOWHERE\nG07\n' >genes.txt
works switch/genes "${batched[@]}" --genes genes.txt
check switch/genes-order "$(cut -d, -f1 out/genes.csv | tr '\n' ' ')" \
  test "$(cut -d, -f1 out/genes.csv | tr '\n' ' ')" = "gene G03 G07 "
check switch/genes-missing "$(number out asked_and_missing)" test "$(number out asked_and_missing)" = 1
check switch/genes-same-depth "the size factors are not those of all genes" \
  cmp <(grep -E '^G0[37],' first/coefficients.csv) <(grep -E '^G0[37],' out/coefficients.csv)
works switch/genes-with-column "${batched[@]}" --genes genes.txt --size-factors column:depth
works switch/one-type "${batched[@]}" --where type=B
awk -F'\t' -v OFS='\t' 'NR == 1 || $3 == "b1"' data/cells.tsv >data/b1.tsv
works switch/cells-without-row "${common[@]:0:3}" --cells data/b1.tsv --label-column type
check switch/cells-without-row-count "$(number out not_in_cells_file)" test "$(number out not_in_cells_file)" -gt 20

# Two files, each a batch; the second lacks gene G05 and has another order.
mkdir -p two
(echo G99; cut -f1 data/features.tsv | sed 1,6d; cut -f1 data/features.tsv | head -n 5) >two/features.tsv
awk 'NR == 1 { print; next } NR == 2 { print 24, $2, $3; next }
     { g = $1 - 1; if (g == 5) g = 0; else if (g > 5) g -= 5; else g += 19; print g + 1, $2, $3 }' data/matrix.mtx >two/matrix.mtx
works switch/two-files "${common[@]}" --counts two/matrix.mtx --cells data/cells.tsv
check switch/two-files-batches "$(head -n 1 out/coefficients.csv)" \
  test "$(head -n 1 out/coefficients.csv)" = "gene,type:B,type:Mono,type:T,batch:data,batch:two"
check switch/two-files-genes "$(wc -l <out/genes.csv) lines" test "$(wc -l <out/genes.csv)" = 24 -a -z "$(grep G05 out/genes.csv)"
check switch/two-files-same-counts "a batch effect between equal files: $(tail -n +3 out/coefficients.csv | head -n 1)" \
  test "$(tail -n +3 out/coefficients.csv | awk -F, '{ if ($6 * $6 > 1e-16) ++n } END { print n + 0 }')" = 0
works switch/features-for-each "${common[@]}" --counts two/matrix.mtx --cells data/cells.tsv --features data/features.tsv \
  --features two/features.tsv

# HDF5
rm -rf out out.h5ad
run_it "${batched[@]}" --h5ad out.h5ad --quiet --out out
if [ "$status" = 1 ] && grep -q 'was not found when this program' stderr; then
  skipped hdf5 "$(last_error)"
else
  check hdf5/written "status $status: $(last_error)" test "$status" = 0 -a -s out.h5ad
  check hdf5/same-tables "they differ" same first out
  check hdf5/is-hdf5 "$(head -c 4 out.h5ad)" test "$(head -c 4 out.h5ad | tail -c 3)" = HDF
  works hdf5/read fit --counts "$golden/io/h5ad_layers_raw/cells.h5ad" --matrix layers/counts --label-column cell_type
  works hdf5/raw fit --counts "$golden/io/h5ad_layers_raw/cells.h5ad" --matrix raw/X --label-column cell_type
  check hdf5/raw-genes "$(wc -l <out/genes.csv)" test "$(wc -l <out/genes.csv)" = 24
  works hdf5/old fit --counts "$golden/io/h5ad_old_compound/cells.h5ad" --label-column cell_type
  works hdf5/categories fit --counts "$golden/io/h5ad_v07_categories/cells.h5ad" --label-column cell_type --batch-column batch
  tenx=$golden/io/tenx_h5_v3/filtered_feature_bc_matrix.h5
  (echo cell,type; strings -n 18 "$tenx" | grep -oE '^[ACGT]{16}-1' | awk '{ print $1 "," (NR % 2 ? "a" : "b") }') >tenx.csv
  if [ "$(wc -l <tenx.csv)" -gt 10 ]; then
    works hdf5/tenx fit --counts "$tenx" --cells tenx.csv --label-column type
    check hdf5/tenx-genes "$(wc -l <out/genes.csv)" test "$(wc -l <out/genes.csv)" = 12
    check hdf5/tenx-other-features "$(number out other_features)" test "$(number out other_features)" = 2
  fi
fi

# ---- evaluate -------------------------------------------------------------------------------------------------------

run_it evaluate --counts data/matrix.mtx --cells data/cells.tsv --label-column type --batch-column batch --hold-out 0.25 \
  --seed 3 --quiet
check evaluate/status "status $status: $(last_error)" test "$status" = 0
check evaluate/rows "$(cat stdout)" all_words stdout "all genes" "genes seen in each type and batch"
check evaluate/difference "$(grep 'all genes' stdout)" test "$(grep 'all genes' stdout | awk '{ print ($5 == $5 + 0 && $3 < 0) }')" = 1
cp stdout evaluated
run_it evaluate --counts data/matrix.mtx --cells data/cells.tsv --label-column type --batch-column batch --hold-out 0.25 \
  --seed 3 --quiet
check evaluate/again "another result" cmp stdout evaluated

# ---- Ctrl-C ---------------------------------------------------------------------------------------------------------

mkfifo pipe.mtx
rm -rf out
"$program" fit --counts pipe.mtx --features data/features.tsv --cells data/cells.tsv --label-column type --out out \
  >stdout 2>stderr &
child=$!
sleep 0.3
kill -INT $child
sleep 0.1
kill -INT $child
wait $child
status=$?
child=
check interrupt/status "status $status: $(last_error)" test "$status" = 130 -o "$status" = 1
check interrupt/no-results "the folder of results was made" test ! -e out

# ---- Bad input ------------------------------------------------------------------------------------------------------

# broken NAME WORDS FILE COMMAND...: the data with FILE replaced by what COMMAND makes of it (standard input to output).
broken() {
  local name=$1 words=$2 file=$3
  shift 3
  rm -rf broken
  cp -r data broken
  "$@" <"data/$file" >"broken/$file"
  bad "$name" "$words" fit --counts broken/matrix.mtx --cells broken/cells.tsv --label-column type --batch-column batch
}
in_cells() { awk -F'\t' -v OFS='\t' -v row="$1" -v col="$2" -v text="$3" 'NR == row { $col = text } { print }'; }
entry() { awk -v line="$1" -v text="$2" 'NR == line { print text; next } { print }'; }

bad counts-missing 'none.mtx|no such file' fit --counts none.mtx --cells data/cells.tsv --label-column type
bad cells-missing 'none.tsv|no such file' fit --counts data/matrix.mtx --cells none.tsv --label-column type
bad label-column "cells.tsv:1|no column 'kind'|type" "${common[@]:0:5}" --label-column kind
bad batch-column "no column 'plate'" "${common[@]}" --batch-column plate
bad where-column "no column 'nothing'" "${common[@]}" --where nothing=1
bad size-factor-column "no column 'nothing'" "${common[@]}" --size-factors column:nothing
bad size-factor-words "cells.tsv:2|type|size factor" "${common[@]}" --size-factors column:type
bad no-cell-left 'no cell is left|80 do not meet --where' "${common[@]}" --where keep=perhaps
broken no-labels 'no cell is left|have no label' cells.tsv awk -F'\t' -v OFS='\t' 'NR > 1 { $2 = "" } { print }'
broken negative-count 'matrix.mtx:7|negative' matrix.mtx entry 7 '3 1 -2'
broken fractional-count 'matrix.mtx:7|whole number' matrix.mtx entry 7 '3 1 2.5'
broken nan-count 'matrix.mtx:7|not finite' matrix.mtx entry 7 '3 1 nan'
broken word-count 'matrix.mtx:7|not a number' matrix.mtx entry 7 '3 1 many'
broken gene-out-of-range 'matrix.mtx:7|outside 1 .. 24' matrix.mtx entry 7 '25 1 1'
broken truncated-counts 'matrix.mtx|announces' matrix.mtx head -n 100
broken empty-counts 'matrix.mtx:1|empty' matrix.mtx true
broken cells-twice "cells.tsv:4|'c02' occurs twice|line 3" cells.tsv in_cells 4 1 c02
broken ragged-cells 'cells.tsv:5' cells.tsv sed '5s/\t[^\t]*$//'
broken genes-twice "features.tsv|'G01' occurs twice" features.tsv sed 's/^G02/G01/'
broken barcodes-twice "barcodes.tsv|'c02' occurs twice" barcodes.tsv sed 's/^c03/c02/'
broken too-few-genes '24 x 80|23 genes' features.tsv head -n 23
broken too-few-barcodes '24 x 80|79 cells' barcodes.tsv head -n 79
broken other-cells 'none of its cells|c01' barcodes.tsv sed 's/^c/d/'
broken confounded "batch 'b2'|'Mono'|cannot be told apart" cells.tsv \
  awk -F'\t' -v OFS='\t' 'NR > 1 { $3 = $2 == "Mono" ? "b2" : "b1" } { print }'
bad features-missing 'no names of its genes|--features' fit --counts bare/counts.mtx --cells data/cells.tsv --label-column type
bad cells-needed '--cells' fit --counts data/matrix.mtx --label-column type
bad wrong-orientation '24 x 80|--orientation' "${common[@]}" --orientation cells-by-genes
head -n 25 data/cells.tsv >data/few.tsv
awk 'NR == 1 { print } NR == 2 { print 24, 24, 1; print 1, 1, 1 }' data/matrix.mtx >bare/square.mtx
bad ambiguous-orientation '24 x 24|--orientation' fit --counts bare/square.mtx --features data/features.tsv \
  --cells data/few.tsv --label-column type
sed '1s/G05/c05/; s/c05/G05/2' data/counts.csv | sed 's/^G05/c05/' >bare/both.csv
bad ambiguous-names 'both.csv|both its rows and its columns|--orientation' fit --counts bare/both.csv --cells data/cells.tsv \
  --label-column type
sed 's/^c/d/' data/cells.tsv >data/other.tsv
bad csv-of-other-cells 'counts.csv|neither its rows|nor its columns' fit --counts data/counts.csv --cells data/other.tsv \
  --label-column type
printf 'NOWHERE\nNOTHING\n' >nothing.txt
bad genes-without-match 'nothing.txt|none of its 2 genes|G00' "${common[@]}" --genes nothing.txt
: >empty.txt
bad genes-empty 'empty.txt|no genes' "${common[@]}" --genes empty.txt
for value in nan 0 -1 inf NA; do
  in_cells 6 5 "$value" <data/cells.tsv >data/depth.tsv
  bad "size-factor-$value" "depth.tsv:6|depth|size factor '$value'" "${common[@]:0:3}" --cells data/depth.tsv \
    --label-column type --size-factors column:depth
done
cut -d, -f1,2 first/genes.csv >no-dispersion.csv
bad dispersion-column "no-dispersion.csv:1|no column 'dispersion'" "${common[@]}" --dispersion file:no-dispersion.csv
cut -d, -f1,3 first/genes.csv | grep -v '^G05' >short-dispersion.csv
bad dispersion-gene "short-dispersion.csv|'G05'" "${common[@]}" --dispersion file:short-dispersion.csv
cut -d, -f1,3 first/genes.csv | sed 's/^G05,.*/G05,-1/' >bad-dispersion.csv
bad dispersion-negative "bad-dispersion.csv:7|negative" "${common[@]}" --dispersion file:bad-dispersion.csv
cut -d, -f1,3 first/genes.csv | sed 's/^G06,/G05,/' >bad-dispersion.csv
bad dispersion-twice "bad-dispersion.csv:8|occurs twice" "${common[@]}" --dispersion file:bad-dispersion.csv
sed 's/^G/H/' data/features.tsv >two/others.tsv
bad no-common-gene 'no gene in common' "${common[@]}" --counts bare/counts.mtx --cells data/cells.tsv \
  --features data/features.tsv --features two/others.tsv
bad evaluate-is-no-fit 'is a folder without matrix.mtx' fit --counts bare --cells data/cells.tsv --label-column type
if [ -s help_fit ] && ! grep -q 'was not found' stderr; then
  bad h5ad-not-counts 'cells.h5ad|X/data|whole number' fit --counts "$golden/io/h5ad_layers_raw/cells.h5ad" --label-column cell_type
  bad h5ad-column "cells.h5ad|obs|no column 'nothing'" fit --counts "$golden/io/h5ad_layers_raw/cells.h5ad" --label-column nothing
  bad h5ad-matrix 'cells.h5ad|layers/none' fit --counts "$golden/io/h5ad_layers_raw/cells.h5ad" --matrix layers/none \
    --label-column cell_type
  bad h5ad-truncated 'cells.h5ad' fit --counts "$golden/io/bad_h5_truncated/cells.h5ad" --label-column cell_type
  bad h5ad-indices 'cells.h5ad|X/indices' fit --counts "$golden/io/bad_h5ad_indices_out_of_range/cells.h5ad" --label-column cell_type
  bad tenx-without-cells 'filtered_feature_bc_matrix.h5|--cells' fit \
    --counts "$golden/io/tenx_h5_v3/filtered_feature_bc_matrix.h5" --label-column type
fi
: >taken
run_it "${common[@]}" --quiet --out taken
check bad/out-is-a-file "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c '^prototypes: taken' stderr)" = 1
run_it "${common[@]}" --quiet --out /proc/results
check bad/out-cannot-be-made "status $status: $(cat stderr)" \
  test "$status" = 1 -a "$(grep -c '^prototypes: /proc/results' stderr)" = 1
run_it evaluate --counts data/matrix.mtx --cells data/cells.tsv --label-column type --quiet
check bad/evaluate-without-batches "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c 'batch-column' stderr)" = 1
cp -r first stale
run_it "${common[@]}" --batch-column batch --where keep=perhaps --quiet --out stale
check bad/old-results-stay "they changed" same first stale

# ---- Published data -------------------------------------------------------------------------------------------------

# first MARKERS LEVEL N GENE...: the genes are among the first N of the level.
leading() {
  local file=$1 level=$2 n=$3 gene
  shift 3
  for gene; do grep "^$level," "$file" | head -n "$n" | cut -d, -f2 | grep -qxF "$gene" || return 1; done
}
if [ -z "${EOSIN_DATA:-}" ]; then
  skipped kang "EOSIN_DATA is not set"
  skipped sc_mixology "EOSIN_DATA is not set"
else
  kang=(--counts "$EOSIN_DATA/kang/matrix.mtx.gz" --cells "$EOSIN_DATA/kang/cells.tsv" --label-column cell_type)
  works kang/fit fit "${kang[@]}" --batch-column stim
  check kang/b-cells "$(grep '^type:B,' out/markers.csv | head -n 5 | cut -d, -f2 | tr '\n' ' ')" \
    leading out/markers.csv type:B 20 MS4A1 CD79A
  check kang/nk-cells "$(grep '^type:NK,' out/markers.csv | head -n 5 | cut -d, -f2 | tr '\n' ' ')" \
    leading out/markers.csv type:NK 20 GNLY NKG7
  check kang/monocytes "$(grep '^type:CD14 Mono,' out/markers.csv | head -n 5 | cut -d, -f2 | tr '\n' ' ')" \
    leading out/markers.csv "type:CD14 Mono" 80 CD14 LYZ
  check kang/stimulation "$(grep '^batch:STIM,' out/markers.csv | head -n 5 | cut -d, -f2 | tr '\n' ' ')" \
    leading out/markers.csv batch:STIM 20 ISG15 IFI6
  works kang/donors fit "${kang[@]}" --batch-column donor
  check kang/donors-missing "$(number out without_batch)" test "$(number out without_batch)" = 34
  run_it evaluate "${kang[@]}" --batch-column donor --quiet
  check kang/evaluate "status $status: $(last_error)" all_words stdout "all genes" "13215 genes"
  mixology=$EOSIN_DATA/sc_mixology
  works sc_mixology/fit fit --counts "$mixology/sc_celseq2.count.csv.gz" --cells "$mixology/sc_celseq2.metadata.csv.gz" \
    --counts "$mixology/sc_dropseq.count.csv.gz" --cells "$mixology/sc_dropseq.metadata.csv.gz" \
    --label-column cell_line_demuxlet --where demuxlet_cls=SNG
  check sc_mixology/header "$(head -n 1 out/coefficients.csv)" test "$(head -n 1 out/coefficients.csv)" = \
    "gene,type:H1975,type:H2228,type:HCC827,batch:sc_celseq2,batch:sc_dropseq"
fi

# ---- Was every option used? -----------------------------------------------------------------------------------------

every_option_used help_fit help_evaluate
finish
