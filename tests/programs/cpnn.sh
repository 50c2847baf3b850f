#!/usr/bin/env bash
# The program cpnn from outside: its files, its switches, continuing after a kill, and what it says to bad input.
#
#   tests/programs/cpnn.sh PATH_OF_CPNN
#
# Makes four small samples of its own (40 spots, 30 genes, 3 types, 6 features) in a temporary folder. Prints a line per
# check: `ok NAME`, `FAIL NAME: detail` or `SKIPPED NAME: reason`. Exit status 1 if a check failed.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
one_thread_of='run|predict'

# ---- Data -----------------------------------------------------------------------------------------------------------

make_samples data
common=(run --samples data/samples.csv --train A,B,C --test D --hidden 8)

# ---- Usage ----------------------------------------------------------------------------------------------------------

run_it --help
check help/program "status $status" test "$status" = 0
run_it run --help
cp stdout help_run
check help/run-status "status $status" test "$status" = 0
check help/run-units "a unit is missing" all_words stdout pixels epochs threads genes
check help/run-defaults "a default is missing" all_words stdout "[default: patch]" "400; slide level 1000" "=0.01" "=25"
run_it predict --help
cp stdout help_predict
check help/predict "status $status" test "$status" = 0
run_it --version
check help/version "status $status: $(cat stdout)" grep -Eq '^cpnn [0-9]+\.[0-9]+' stdout

usage no-command
usage unknown-command ran
usage unknown-option "${common[@]}" --out out --colour red
usage no-out "${common[@]}"
usage no-samples run --train A --test B --out out
usage samples-and-simulation "${common[@]}" --simulate 1 --out out
usage no-test run --samples data/samples.csv --train A --out out
usage no-train run --samples data/samples.csv --test A --out out
usage unknown-word "${common[@]}" --projector tower --out out
usage unknown-compat "${common[@]}" --compat everything --out out
usage words-for-numbers "${common[@]}" --epochs many --out out
usage negative-epochs "${common[@]}" --epochs -3 --out out
usage no-batch "${common[@]}" --batch 0 --out out
usage huge-width "${common[@]}" --hidden 9000000000000000000 --out out
usage too-many-threads "${common[@]}" --threads 1000000 --out out
usage simulation-half-a-split run --simulate 1 --train S1 --out out
usage negative-patience "${common[@]}" --patience -1 --out out
usage no-width "${common[@]}" --hidden 8,0 --out out
usage nan-learning-rate "${common[@]}" --learning-rate nan --out out
usage negative-noise run --simulate 1 --noise -1 --out out
usage predict-without-model predict --samples data/samples.csv --test D --out out

# ---- Files ----------------------------------------------------------------------------------------------------------

run_it "${common[@]}" --epochs 12 --seed 5 --threads 1 --out first
check run/status "status $status: $(last_error)" test "$status" = 0
for file in metrics.json predictions/D.csv.gz compositions/D.csv.gz model/model.json model/ensemble.safetensors \
  model/member-0.safetensors model/member-1.safetensors model/member-2.safetensors model/prototypes.csv log.jsonl \
  report.html genes/D.csv; do
  check "run/writes-$file" "is missing or empty" test -s "first/$file"
done
check run/no-temporary-files "$(find first -name '*.part-*')" none_left first
# The indented JSON has one number per line.
for method in cpnn constant ridge; do
  check "run/metrics-$method" "no result of $method" grep -q "\"method\": \"$method\"" first/metrics.json
done
for key in sample pearson_gene_mean pearson_heg30_mean spearman_gene_mean mse mae pearson_gene_undefined settings seed \
  version seconds; do
  check "run/metrics-$key" "is missing" grep -q "\"$key\":" first/metrics.json
done
check run/metrics-seed "is not that of the command line" grep -Eq '"seed": 5,?$' first/metrics.json
block first/metrics.json cpnn >numbers
check run/metrics-finite "$(grep -n null numbers | head -n 1)" test -s numbers -a "$(grep -c null numbers)" = 0
check run/predictions-shape "$(zcat first/predictions/D.csv.gz | awk -F, '{ print NF }' | sort | uniq -c | tr '\n' ';')" \
  test "$(zcat first/predictions/D.csv.gz | awk -F, 'NF == 31' | wc -l)" = 41
check run/predictions-header "$(zcat first/predictions/D.csv.gz | head -n 1)" \
  test "$(zcat first/predictions/D.csv.gz | head -n 1 | cut -d, -f1,2)" = spot,G00
check run/predictions-finite "a number is not finite" \
  test -z "$(zcat first/predictions/D.csv.gz | grep -iE 'nan|inf' | head -n 1)"
check run/compositions-sum-to-one "$(zcat first/compositions/D.csv.gz | head -n 2 | tail -n 1)" \
  test "$(zcat first/compositions/D.csv.gz | awk -F, 'NR > 1 { s = $2 + $3 + $4; if (s > 0.999 && s < 1.001) ++n } END { print n }')" = 40
check run/log-lines "$(wc -l <first/log.jsonl) lines" test "$(wc -l <first/log.jsonl)" = 36
check run/report "is no whole page" grep -qi '</html>' first/report.html
check run/report-self-contained "it loads something" \
  test -z "$(grep -oE '(src|href)="https?://[^"]*"' first/report.html | head -n 1)"

# ---- The same numbers again -----------------------------------------------------------------------------------------

run_it "${common[@]}" --epochs 12 --seed 5 --threads 2 --quiet --out second
check same/quiet "it said: $(cat stdout stderr | head -n 1)" test ! -s stdout -a ! -s stderr
check same/members "two threads differ from one" same_members first second
check same/predictions "two threads differ from one" same_table first/predictions/D.csv.gz second/predictions/D.csv.gz
run_it "${common[@]}" --epochs 12 --seed 6 --quiet --out other
if same_members first other >/dev/null; then fail same/other-seed "another seed gives the same parameters"; else ok same/other-seed; fi

# ---- predict --------------------------------------------------------------------------------------------------------

run_it predict --model first/model --samples data/samples.csv --test D,C --gemm auto --threads 2 --out predicted
check predict/status "status $status: $(last_error)" test "$status" = 0
check predict/predictions "they differ from those of the run" same_table first/predictions/D.csv.gz predicted/predictions/D.csv.gz
check predict/compositions "they differ from those of the run" \
  same_table first/compositions/D.csv.gz predicted/compositions/D.csv.gz
[ -s predicted/metrics.json ] && block predicted/metrics.json cpnn >both
: >>both
grep -A100 '"sample": "D"' both | sed '/^  }/q' >again
check predict/numbers "they differ from those of the run" \
  cmp <(sed -n '/pearson_gene_mean/,/rmse/p' numbers) <(sed -n '/pearson_gene_mean/,/rmse/p' again)
cat >data/places.csv <<END
sample,patient,counts,spots,image,features,composition
D,,,spots/D.tsv,,features/D.csv,
END
run_it predict --model first/model --samples data/places.csv --test D --quiet --out places
check predict/without-counts "status $status: $(last_error)" test "$status" = 0
check predict/without-counts-predictions "they differ from those of the run" \
  same_table first/predictions/D.csv.gz places/predictions/D.csv.gz
run_it "${common[@]}" --epochs 3 --standardise training --quiet --out training
run_it predict --model training/model --samples data/places.csv --test D --quiet --out training-again
check predict/training-standardisation "status $status: $(last_error)" \
  same_table training/predictions/D.csv.gz training-again/predictions/D.csv.gz
run_it "${common[@]}" --epochs 3 --prototypes scratch --types 4 --math bf16 --quiet --out scratch
check run/scratch "status $status: $(last_error)" test "$status" = 0
run_it predict --model scratch/model --samples data/places.csv --test D --quiet --out scratch-again
check predict/scratch "status $status: $(last_error)" \
  same_table scratch/predictions/D.csv.gz scratch-again/predictions/D.csv.gz

# ---- Killed and continued -------------------------------------------------------------------------------------------

# Wide enough that a second passes between the signal that is wanted and the end.
long=(run --samples data/samples.csv --train A,B,C --test D --hidden 192,192 --epochs 500 --patience 0
  --folds 2 --members 1 --checkpoint-every 5 --seed 9 --threads 1 --quiet)
total=1000
run_it "${long[@]}" --out whole
check resume/uninterrupted "status $status: $(last_error)" test "$status" = 0
check resume/uninterrupted-log "$(wc -l <whole/log.jsonl) lines" each_epoch_once whole "$total"

start_and_signal KILL 120 "${long[@]}" --out killed
check resume/killed-in-first-member "status $status, $(wc -l <killed/log.jsonl) lines" \
  test "$status" = 137 -a ! -e killed/metrics.json -a ! -e killed/model/member-0.safetensors
check resume/checkpoint "is missing" test -s killed/model/checkpoint.safetensors
run_it "${long[@]}" --learning-rate 0.01 --resume --out killed
check resume/other-settings-status "status $status" test "$status" = 1
check resume/other-settings-message "$(cat stderr)" grep -Eq '^cpnn: .*checkpoint.*other settings' stderr
cp data/features/A.csv kept
sed -i '2s/,[0-9.]*$/,9/' data/features/A.csv
run_it "${long[@]}" --resume --out killed
check resume/other-data "status $status: $(cat stderr)" grep -Eq '^cpnn: .*checkpoint.*other data' stderr
mv kept data/features/A.csv
run_it "${long[@]}" --gemm own --resume --out killed
if grep -q '"products":"eosin"' <(grep -ao '"products":"[^"]*"' killed/model/checkpoint.safetensors); then
  skipped resume/other-products "this build has no library of products"
else
  check resume/other-products "status $status: $(cat stderr)" \
    grep -Eq '^cpnn: .*checkpoint.*matrix products by .*eosin' stderr
fi
# A line that was cut by the kill.
printf '{"member":0,"epo' >>killed/log.jsonl
start_and_signal KILL 530 "${long[@]}" --resume --out killed
check resume/killed-in-second-member "status $status, $(wc -l <killed/log.jsonl) lines" \
  test "$status" = 137 -a ! -e killed/metrics.json -a -e killed/model/member-0.safetensors
: >killed/model/member-1.safetensors.part-1-0
run_it "${long[@]}" --resume --out killed
check resume/status "status $status: $(last_error)" test "$status" = 0
check resume/members "they differ from those of an uninterrupted run" same_members whole killed
check resume/predictions "they differ from those of an uninterrupted run" \
  same_table whole/predictions/D.csv.gz killed/predictions/D.csv.gz
check resume/log "$(wc -l <killed/log.jsonl) lines, $(grep -oE '"member":[0-9]+,"epoch":[0-9]+' killed/log.jsonl | sort -u | wc -l) different" \
  each_epoch_once killed "$total"
check resume/no-temporary-files "$(find killed -name '*.part-*')" none_left killed
run_it "${long[@]}" --resume --out killed
check resume/finished-run "status $status: $(last_error)" same_members whole killed
check resume/finished-log "$(wc -l <killed/log.jsonl) lines" each_epoch_once killed "$total"

rm -rf killed
start_and_signal INT 200 "${long[@]}" --out killed
check interrupt/status "status $status" test "$status" = 1
check interrupt/message "$(cat stderr)" grep -Eq '^cpnn: stopped in epoch [0-9]+.*--resume' stderr
check interrupt/checkpoint "is missing" test -s killed/model/checkpoint.safetensors -a ! -e killed/metrics.json
run_it "${long[@]}" --resume --out killed
check interrupt/resumed "status $status: $(last_error)" same_members whole killed
check interrupt/log "$(wc -l <killed/log.jsonl) lines" each_epoch_once killed "$total"

rm -rf killed
random=("${long[@]}" --compat unseeded-split)
start_and_signal KILL 530 "${random[@]}" --out killed
split_seed() { grep -aoE 'split_seed[^,}]*' killed/model/checkpoint.safetensors; }
before=$(split_seed)
run_it "${random[@]}" --resume --out killed
check resume/unseeded-split "status $status, the folds changed: $before, then $(split_seed)" \
  test "$status" = 0 -a -n "$before" -a "$before" = "$(split_seed)"

# A run that starts anew over an old one and fails must not leave the old numbers beside the new model.
cp -r first stale
run_it "${common[@]}" --epochs 3 --learning-rate 1e30 --quiet --out stale
check run/diverges "status $status: $(last_error)" test "$status" = 1
check run/diverges-message "$(cat stderr)" grep -Eq '^cpnn: .*epoch.*learning rate' stderr
check run/diverges-leaves-no-results "old results are still there" \
  test ! -e stale/metrics.json -a ! -e stale/report.html -a ! -e stale/predictions/D.csv.gz -a ! -e stale/genes/D.csv

# ---- Slide level ----------------------------------------------------------------------------------------------------

slide=("${common[@]}" --level slide)
run_it "${slide[@]}" --epochs 8 --out slide
check slide/status "status $status: $(last_error)" test "$status" = 0
check slide/slides "is missing" test -s slide/predictions/slides.csv.gz
check slide/slides-shape "$(zcat slide/predictions/slides.csv.gz | head -n 1 | cut -c 1-40)" \
  test "$(zcat slide/predictions/slides.csv.gz | awk -F, 'NF == 31' | wc -l)" = 2
check slide/metrics "no slide_level" grep -q '"pearson_slide_mean"' slide/metrics.json
run_it predict --model slide/model --samples data/places.csv --test D --quiet --out slide-again
check slide/predict "status $status: $(last_error)" \
  same_table slide/predictions/slides.csv.gz slide-again/predictions/slides.csv.gz

# ---- Every switch ---------------------------------------------------------------------------------------------------

short=("${common[@]}" --epochs 3)
works switch/projector-adapter "${short[@]}" --projector adapter
works switch/projector-linear "${short[@]}" --projector linear --head-gain 1
works switch/show "${short[@]}" --show G07,G21
check switch/show-maps "no map of a chosen gene" grep -q '<h3>Chosen genes</h3>' out/report.html
works switch/domains "${short[@]}" --domains 3
check switch/domains-metrics "$(grep -A8 '"domains"' out/metrics.json | tr -d '\n')" grep -q '"predicted_with_measured"' out/metrics.json
{
  printf 'x\ty\tlabel\n'
  for spot in 1,1,edge 2,2,undetermined 3,1,core 4,4,core 5,3,edge 8,5,core; do tr , '\t' <<<"$spot"; done
} >data/labels.tsv
sed '1s/$/,annotation/; 5s/$/,labels.tsv/; 2,4s/$/,/' data/samples.csv >data/annotated.csv
works switch/annotation run --samples data/annotated.csv --train A,B,C --test D --hidden 8 --epochs 3
check switch/annotation-labels "$(grep -A3 '"domains"' out/metrics.json | tr -d '\n')" \
  test "$(grep -cE '"(domains": 2|annotated_spots": 5),' out/metrics.json)" = 2
works switch/hidden "${short[@]}" --hidden 16,8,4
works switch/prototype-mode "${short[@]}" --prototype-mode static
works switch/prototypes-trained "${short[@]}" --prototype-mode trained --prototypes soft-labels
works switch/prototypes-folder "${short[@]}" --prototypes first/model
works switch/prototypes-scratch "${short[@]}" --prototypes scratch --types 5
for word in softmax-mse exp-mse pearson off; do
  works "switch/prototype-regulariser-$word" "${short[@]}" --prototype-regulariser "$word"
done
for word in mse mae cross-entropy off; do
  works "switch/composition-regulariser-$word" "${short[@]}" --composition-regulariser "$word" --regulariser-weight 2 \
    --composition-scale 0.5
  works "slide/composition-regulariser-$word" "${slide[@]}" --epochs 3 --composition-regulariser "$word"
done
works switch/composition-level "${short[@]}" --composition-level section
for word in nb pearson mse; do
  works "switch/observation-$word" "${short[@]}" --observation "$word" --eps 1e-6
  works "slide/observation-$word" "${slide[@]}" --epochs 3 --observation "$word"
done
works switch/correction-on "${short[@]}" --correction on
works switch/correction-off "${short[@]}" --observation nb --correction off
works switch/mask-off "${short[@]}" --mask off --prototype-scale counts
works slide/mask-off "${slide[@]}" --epochs 3 --mask off
for word in constant step cosine; do
  works "switch/schedule-$word" "${short[@]}" --schedule "$word" --schedule-period 2 --schedule-factor 0.5 --warmup 2
done
for word in adamw adam sgd; do
  works "switch/optimiser-$word" "${short[@]}" --optimiser "$word" --learning-rate 0.002 --weight-decay 0.1 --clip-norm 0
done
works switch/feature-noise "${short[@]}" --feature-noise 0
works switch/batch "${short[@]}" --batch 2
works switch/patience "${common[@]}" --epochs 200 --patience 1
works switch/no-epochs "${common[@]}" --epochs 0
works switch/folds "${short[@]}" --folds 1
works switch/members "${short[@]}" --members 2 --folds 2
works switch/validate run --samples data/samples.csv --train A,B --validate C --test D --hidden 8 --epochs 3
works switch/one-training-sample run --samples data/samples.csv --train A --test D,C --hidden 8 --epochs 3
works switch/without-compositions run --samples data/samples.csv --train C --test A,B,D --hidden 8 --epochs 3 --types 4
rm -rf turned
cp -r data turned
awk -F, -v OFS=, '{ print $1, $4, $2, $3 }' data/compositions/B.csv >turned/compositions/B.csv
run_it run --samples turned/samples.csv --train A,B,C --test D --hidden 8 --epochs 12 --seed 5 --quiet --out turned-out
check switch/order-of-types "another order of the types in one file changes the result" same_members first turned-out
sed 1s/gamma/delta/ data/compositions/D.csv >turned/compositions/D.csv
works switch/other-types-in-test run --samples turned/samples.csv --train A,B --test D --hidden 8 --epochs 3
check switch/other-types-in-test-note "no note" grep -q 'composition of sample D' out/metrics.json
head -n 2 data/spots/D.tsv >turned/spots/D.tsv
run_it run --samples turned/samples.csv --train A,B --test D --hidden 8 --epochs 3 --quiet --out one-spot
check switch/one-spot "status $status: $(last_error)" test "$status" = 0
works switch/hvg "${short[@]}" --hvg 7
printf 'G03\nG07\n\nG11 \nNOWHERE\n' >genes.txt
works switch/genes "${short[@]}" --genes genes.txt
check switch/genes-selected "$(zcat out/predictions/D.csv.gz | head -n 1)" \
  test "$(zcat out/predictions/D.csv.gz | head -n 1)" = spot,G03,G07,G11
printf 'G04\n' >one-gene.txt
works switch/one-gene "${short[@]}" --genes one-gene.txt
# Type alpha has none of G00, so some spots have no count of it.
printf 'G00\nG01\n' >two-genes.txt
works switch/two-genes-nb "${short[@]}" --genes two-genes.txt --observation nb
works switch/two-genes-mse "${short[@]}" --genes two-genes.txt --observation mse
works switch/standardise "${short[@]}" --standardise section
works switch/patch-size "${short[@]}" --patch-size 25
works switch/no-checkpoints "${short[@]}" --checkpoint-every 0
for word in own eigen cblas onednn; do
  rm -rf out
  run_it "${short[@]}" --gemm "$word" --quiet --out out
  if [ "$status" = 1 ] && grep -q 'was built without' stderr; then skipped "switch/gemm-$word" "$(last_error)"
  elif [ "$status" = 0 ]; then ok "switch/gemm-$word"
  else fail "switch/gemm-$word" "status $status: $(last_error)"; fi
done
works switch/math "${short[@]}" --math bf16
for word in mask-as-one cut-to-4096 unseeded-split last-weights softmax-normalisation probabilities-as-logits; do
  works "switch/compat-$word" "${short[@]}" --compat "$word"
  works "slide/compat-$word" "${slide[@]}" --epochs 3 --compat "$word"
done
works switch/compat-softmax-normalisation-nb "${short[@]}" --observation nb --compat softmax-normalisation
works switch/compat-all "${short[@]}" --compat mask-as-one,cut-to-4096,unseeded-split,last-weights,softmax-normalisation

# A simulation takes most of the time here. In the noisy one some spots have no counts.
works simulate/naive-means run --simulate --epochs 1 --hidden 8 --train S1,S3 --validate S4 --test S2 \
  --prototypes naive-means --threads 2
works simulate/very-noisy run --simulate 2 --noise 4 --epochs 1 --hidden 8 --train S1,S2 --test S3 --threads 2
check simulate/cells "the prototypes are not those of the cells" grep -q '"prototypes": "cells"' out/metrics.json
check simulate/spots-without-counts "none was dropped" grep -q 'spots without counts were dropped' out/metrics.json

# ---- Features by coordinates ----------------------------------------------------------------------------------------

# Nine patches at known upper left corners; the spots lie 80 pixels right of and below the centres of patches of 256.
clam=$golden/io/clam_h5/slide_1.h5
mkdir -p clam
awk 'BEGIN {
  n = split("8686592 13376768 13847040 20042752 4336384 20989696 7925760 19292672 1496832 11739136 22483200 2187264 " \
            "541440 1591296 4638208 15522560 12677888 11736576", corner, " ")
  seed = 7
  for (s = 1; s <= 3; ++s) {
    counts = "clam/" s ".tsv"; spots = "clam/" s "-spots.tsv"
    print "x\ty\tpixel_x\tpixel_y" > spots
    print "\tG1\tG2\tG3" > counts
    for (i = 1; i <= n / 2; ++i) {
      printf "%d\t1\t%d\t%d\n", i, corner[2 * i - 1] + 208, corner[2 * i] + 208 > spots
      printf "%dx1", i > counts
      for (g = 0; g < 3; ++g) { seed = (seed * 16807) % 2147483647; printf "\t%d", 1 + seed % 9 > counts }
      printf "\n" > counts
    }
  }
}'
{
  echo sample,patient,counts,spots,image,features,composition
  for s in 1 2 3; do echo "H$s,,$s.tsv,$s-spots.tsv,,$clam,"; done
} >clam/samples.csv
hdf5=(run --samples clam/samples.csv --train H1,H2 --test H3 --types 3 --epochs 2 --hidden 4)
run_it "${hdf5[@]}" --patch-size 256 --out clam-out
if grep -q 'HDF5 files need' stderr; then
  skipped clam "$(last_error)"
else
  works clam/patch "${hdf5[@]}" --patch-size 256
  check clam/all-spots "$(zcat out/predictions/H3.csv.gz | wc -l) lines" test "$(zcat out/predictions/H3.csv.gz | wc -l)" = 10
  works clam/slide "${hdf5[@]}" --patch-size 256 --level slide
fi

# ---- Images ---------------------------------------------------------------------------------------------------------

# A picture of 24 x 17 pixels: spots inside it work, spots outside are an error.
mkdir -p picture
for s in A B; do
  printf 'x\ty\tpixel_x\tpixel_y\n1\t1\t4\t4\n2\t1\t12\t4\n3\t1\t20\t4\n1\t2\t4\t12\n2\t2\t12\t12\n3\t2\t20\t12\n' >picture/$s.spots
  printf '\tG1\tG2\n1x1\t3\t5\n2x1\t2\t6\n3x1\t4\t1\n1x2\t5\t2\n2x2\t1\t7\n3x2\t6\t3\n' >picture/$s.tsv
done
cp "$images"/small.jpg "$images"/small.png picture/
for kind in png jpg; do
  printf 'sample,patient,counts,spots,image,features,composition\nA,,A.tsv,A.spots,small.%s,,\nB,,B.tsv,B.spots,small.%s,,\n' \
    $kind $kind >picture/$kind.csv
done
pictures=(--train A --test B --types 2 --epochs 2 --hidden 4)
run_it run --samples picture/png.csv "${pictures[@]}" --out picture-out
if [ "$status" = 1 ] && grep -q 'built without\|was not found when' stderr; then
  skipped image "$(last_error)"
else
  works image/png run --samples picture/png.csv "${pictures[@]}"
  works image/jpg run --samples picture/jpg.csv "${pictures[@]}"
fi

# ---- Bad input ------------------------------------------------------------------------------------------------------

# broken NAME WORDS FILE COMMAND...: the samples with FILE replaced by what COMMAND makes of it (standard input to output).
broken() {
  local name=$1 words=$2 file=$3
  shift 3
  rm -rf broken
  cp -r data broken
  "$@" <"data/$file" >"broken/$file"
  bad "$name" "$words" run --samples broken/samples.csv --train A,B,C --test D --hidden 8 --epochs 2
}

broken manifest-column 'samples.csv|composition' samples.csv cut -d, -f1-6
broken manifest-empty 'samples.csv' samples.csv true
broken manifest-no-samples 'samples.csv|no samples' samples.csv head -n 1
broken manifest-twice 'samples.csv|twice|line 2' samples.csv sed 's/^C,/A,/'
broken manifest-folder-in-name 'samples.csv:4|../C' samples.csv sed 's/^C,/..\/C,/'
broken manifest-no-counts 'samples.csv:4|counts|sample C' samples.csv sed 's/^C,P2,[^,]*/C,P2,/'
broken manifest-no-features 'samples.csv|sample C|neither an image nor features' samples.csv sed 's/features\/C.csv//'
broken missing-counts 'samples.csv:2|counts/A.tsv|no such file' samples.csv sed 's/counts\/A.tsv/counts\/A.tsv.missing/'
broken missing-features 'features/missing.csv|no such file' samples.csv sed 's/features\/D.csv/features\/missing.csv/'
broken missing-composition 'compositions/missing.csv|no such file' samples.csv sed 's/compositions\/A.csv/compositions\/missing.csv/'
broken counts-are-a-folder 'samples.csv:2|counts' samples.csv sed 's/counts\/A.tsv/counts/'
broken no-matching-spot 'spots/A.tsv|counts/A.tsv' spots/A.tsv awk 'BEGIN { OFS = "\t" } NR > 1 { $1 += 100 } { print }'
broken no-selected-spot 'spots/A.tsv' spots/A.tsv awk 'BEGIN { OFS = "\t" } NR > 1 { $5 = 0 } { print }'
broken spot-twice 'spots/A.tsv:3|1x1|twice' spots/A.tsv at_cell '\t' 3 1 1
broken spot-column 'spots/A.tsv|pixel_y' spots/A.tsv sed 1s/pixel_y/row/
broken spot-word 'spots/A.tsv:4|pixel_x' spots/A.tsv at_cell '\t' 4 3 here
broken negative-count 'counts/A.tsv:5|G02' counts/A.tsv at_cell '\t' 5 4 -3
broken fractional-count 'counts/A.tsv:5|G02|2.5' counts/A.tsv at_cell '\t' 5 4 2.5
broken nan-count 'counts/A.tsv:5|G02' counts/A.tsv at_cell '\t' 5 4 nan
broken word-count 'counts/A.tsv:5|G02|many' counts/A.tsv at_cell '\t' 5 4 many
broken huge-count 'counts/A.tsv:5|G02' counts/A.tsv at_cell '\t' 5 4 1e300
broken no-count 'counts/A.tsv:5' counts/A.tsv at_cell '\t' 5 4 ''
broken ragged-counts 'counts/A.tsv:6' counts/A.tsv sed '6s/\t[0-9]*$//'
broken counts-without-genes 'counts/A.tsv' counts/A.tsv cut -f1
broken counts-of-zero 'counts/A.tsv' counts/A.tsv awk 'BEGIN { OFS = FS = "\t" } NR > 1 { for (i = 2; i <= NF; ++i) $i = 0 } { print }'
broken gene-twice 'counts/A.tsv|G01' counts/A.tsv sed 1s/G02/G01/
broken counts-are-binary 'counts/A.tsv' counts/A.tsv head -c 3000 "$program"
broken counts-empty 'counts/A.tsv' counts/A.tsv true
broken truncated-gzip 'counts/B.tsv.gz' counts/B.tsv.gz head -c 300
broken gzip-bit 'counts/B.tsv.gz' counts/B.tsv.gz sed '1s/^\(.\{200\}\)./\1~/'
broken not-gzip 'counts/B.tsv.gz' counts/B.tsv.gz cat data/samples.csv
broken nan-feature 'features/B.csv:7|f3' features/B.csv at_cell , 7 4 nan
broken infinite-feature 'features/D.csv:7|f3' features/D.csv at_cell , 7 4 inf
broken no-feature 'features/D.csv:7' features/D.csv at_cell , 7 4 ''
broken other-features 'features/D.csv|5|6' features/D.csv cut -d, -f1-6
broken other-feature-names 'features/D.csv|f9' features/D.csv sed 1s/f3/f9/
broken features-of-other-spots 'features/D.csv|counts of D' features/D.csv sed 's/x/y/'
broken negative-composition 'compositions/A.csv:3|beta' compositions/A.csv at_cell , 3 3 -0.2
broken nan-composition 'compositions/A.csv:3|beta' compositions/A.csv at_cell , 3 3 nan
broken composition-of-other-spots 'compositions/A.csv|counts of A' compositions/A.csv sed 's/x/y/'
broken composition-of-other-types "compositions/B.csv|'gamma'" compositions/B.csv sed 1s/gamma/delta/
broken composition-of-fewer-types 'compositions/B.csv' compositions/B.csv cut -d, -f1-3
broken composition-of-zeros 'compositions/A.csv' compositions/A.csv awk 'BEGIN { OFS = FS = "," } NR > 1 { $2 = $3 = $4 = 0 } { print }'
rm -rf broken
cp -r data broken
awk 'BEGIN { OFS = FS = "," } NR > 1 { $4 = 0 } { print }' data/compositions/A.csv >broken/compositions/A.csv
bad type-without-spots 'gamma' run --samples broken/samples.csv --train A,C --test D --hidden 8 --epochs 2
bad manifest-missing 'nowhere.csv|no such file' run --samples nowhere.csv --train A --test B
bad manifest-folder 'data|folder' run --samples data --train A --test B
bad unknown-sample "data/samples.csv|'Z'|A, B, C, D" run --samples data/samples.csv --train A,Z --test D
bad sample-on-two-sides "'A'|test" run --samples data/samples.csv --train A,B --test A
bad sample-twice "'A'" run --samples data/samples.csv --train A,A --test D
printf 'X1\nX2\n' >nothing.txt
bad genes-without-match 'nothing.txt' "${short[@]}" --genes nothing.txt
: >empty.txt
bad genes-empty 'empty.txt|no genes' "${short[@]}" --genes empty.txt
bad show-unknown-gene "--show|'ERBB2'|30 genes" "${short[@]}" --show G01,ERBB2
bad domains-beyond-spots '--domains|sample D|40 spots' "${short[@]}" --domains 41
bad genes-missing 'none.txt|no such file' "${short[@]}" --genes none.txt
bad prototypes-missing 'nowhere/prototypes.csv|no such file' "${short[@]}" --prototypes nowhere
mkdir -p odd
sed '1s/beta/gamma/' first/model/prototypes.csv >odd/prototypes.csv
bad prototypes-type-twice 'odd/prototypes.csv|gamma' "${short[@]}" --prototypes odd
sed '/^G05/d' first/model/prototypes.csv >odd/prototypes.csv
bad prototypes-gene-missing 'odd/prototypes.csv|G05' "${short[@]}" --prototypes odd
sed '3s/,[^,]*/,-1/' first/model/prototypes.csv >odd/prototypes.csv
bad prototypes-negative 'odd/prototypes.csv:3' "${short[@]}" --prototypes odd
awk -F, -v OFS=, 'NR > 1 { $2 = 0 } { print }' first/model/prototypes.csv >odd/prototypes.csv
printf 'G00\n' >first-gene.txt
bad genes-of-one-type-only "'alpha'" "${short[@]}" --genes first-gene.txt
bad prototypes-of-nothing 'alpha' "${short[@]}" --prototypes odd
bad soft-labels-without-compositions 'composition' run --samples data/samples.csv --train C --test D --prototypes soft-labels
bad cells-without-simulation 'simulate' "${short[@]}" --prototypes cells
if [ -s picture-out/metrics.json ]; then
  sed 's/\t20\t12$/\t200\t12/' picture/B.spots >picture/B.outside && mv picture/B.outside picture/B.spots
  bad image-smaller-than-coordinates 'small.png|200|24' run --samples picture/png.csv "${pictures[@]}"
  head -c 700 "$images"/small.png >picture/small.png
  bad image-truncated 'small.png' run --samples picture/png.csv "${pictures[@]}"
  cp data/samples.csv picture/small.jpg
  bad image-is-text 'small.jpg' run --samples picture/jpg.csv "${pictures[@]}"
fi
if [ -s clam-out/metrics.json ]; then
  bad features-out-of-reach 'slide_1.h5|H1' "${hdf5[@]}" --patch-size 100
  head -c 2000 "$clam" >clam/short.h5
  sed -i "s|$clam|short.h5|" clam/samples.csv
  bad hdf5-truncated 'short.h5' "${hdf5[@]}" --patch-size 256
fi

# The folder of results itself.
: >taken
run_it "${short[@]}" --quiet --out taken
check bad/out-is-a-file "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c '^cpnn: taken' stderr)" = 1
run_it "${short[@]}" --quiet --out /proc/results
check bad/out-cannot-be-made "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c '^cpnn: /proc/results' stderr)" = 1

# Models.
predict=(predict --samples data/samples.csv --test D)
model() {  # NAME WORDS FILE COMMAND...: predict with the model after COMMAND has changed FILE of it
  local name=$1 words=$2 file=$3
  shift 3
  rm -rf model
  cp -r first/model model
  "$@" <"first/model/$file" >"model/$file"
  bad "model-$name" "$words" "${predict[@]}" --model model
}
bad model-missing 'nowhere|no such file' "${predict[@]}" --model nowhere
model empty 'model/model.json' model.json true
model no-json 'model/model.json' model.json cut -c 1-20
model other-format 'model/model.json|not a model' model.json sed 's/eosin cpnn/something/'
model no-genes 'model/model.json|genes' model.json sed 's/"genes": /"names": /'
model odd-word 'model/model.json|tower' model.json sed 's/"projector": "mlp"/"projector": "tower"/'
model more-members 'model/member-3.safetensors|no such file' model.json sed 's/"members": 3/"members": 4/'
model other-width 'model/member-0.safetensors' model.json sed 's/^   8$/   9/'
model truncated-member 'model/member-1.safetensors' member-1.safetensors head -c 500
model truncated-ensemble 'model/ensemble.safetensors' ensemble.safetensors head -c 500
rm -rf broken
cp -r data broken
cut -d, -f1-6 data/features/D.csv >broken/features/D.csv
bad predict-other-features 'features' predict --samples broken/samples.csv --test D --model first/model
bad predict-unknown-sample "'Z'" predict --samples data/samples.csv --test Z --model first/model
# Checkpoints.
for damage in truncated text; do
  rm -rf killed
  cp -r whole killed
  rm killed/metrics.json
  if [ $damage = text ]; then cp data/samples.csv killed/model/checkpoint.safetensors
  else head -c 700 whole/model/checkpoint.safetensors >killed/model/checkpoint.safetensors; fi
  run_it "${long[@]}" --resume --out killed
  check "bad/checkpoint-$damage" "status $status: $(cat stderr)" \
    test "$status" = 1 -a "$(grep -c '^cpnn: .*killed/model/checkpoint.safetensors' stderr)" = 1 -a ! -e killed/metrics.json
done
rm -rf killed
cp -r whole killed
rm killed/log.jsonl
run_it "${long[@]}" --resume --out killed
check bad/log-missing "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c '^cpnn: .*killed/log.jsonl' stderr)" = 1

# ---- Was every option used? -----------------------------------------------------------------------------------------

every_option_used help_run help_predict
finish
