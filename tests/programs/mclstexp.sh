#!/usr/bin/env bash
# The program mclstexp from outside: its files, its switches, continuing after a kill, and what it says to bad input.
#
#   tests/programs/mclstexp.sh PATH_OF_MCLSTEXP
#
# Makes four small samples of its own (40 spots, 30 genes, 6 features) in a temporary folder. Prints a line per check:
# `ok NAME`, `FAIL NAME: detail` or `SKIPPED NAME: reason`. Exit status 1 if a check failed.
. "$(dirname "${BASH_SOURCE[0]}")/support.sh"
one_thread_of='run|predict'

# ---- Data -----------------------------------------------------------------------------------------------------------

make_samples data
narrow=(--heads 2 --head-width 4 --projection 8)
tiny=("${narrow[@]}" --depth 1 --folds 2 --neighbours 10)
common=(run --samples data/samples.csv --train A,B,C --test D "${tiny[@]}")
short=("${common[@]}" --epochs 2)
bare=(run --samples data/samples.csv --train A,B,C --test D "${narrow[@]}" --epochs 2)

# ---- Usage ----------------------------------------------------------------------------------------------------------

run_it --help
check help/program "status $status" test "$status" = 0
run_it run --help
cp stdout help_run
check help/run-status "status $status" test "$status" = 0
check help/run-units "a unit is missing" all_words stdout pixels pitches epochs threads degrees "weight decay"
check help/run-defaults "a default is missing" all_words stdout "=0.2" "=200" "90; 10 where" "[default: attention]" "[default: auto]"
run_it predict --help
cp stdout help_predict
check help/predict "status $status" test "$status" = 0
run_it --version
check help/version "status $status: $(cat stdout)" grep -Eq '^mclstexp [0-9]+\.[0-9]+' stdout

usage no-command
usage unknown-command ran
usage unknown-option "${common[@]}" --out out --colour red
usage no-out "${common[@]}"
usage no-samples run --train A --test B --out out
usage samples-and-simulation "${common[@]}" --simulate 1 --out out
usage no-test run --samples data/samples.csv --train A --out out
usage no-train run --samples data/samples.csv --test A --out out
usage simulation-half-a-split run --simulate 1 --train S1 --out out
usage unknown-word "${common[@]}" --predict oracle --out out
usage unknown-encoder "${common[@]}" --encoder vgg --out out
usage unknown-compat "${common[@]}" --compat everything --out out
usage words-for-numbers "${common[@]}" --epochs many --out out
usage negative-epochs "${common[@]}" --epochs -3 --out out
usage batch-of-one "${common[@]}" --batch 1 --out out
usage no-temperature "${common[@]}" --temperature 0 --out out
usage dropout-of-all "${common[@]}" --dropout 1 --out out
usage image-weight-above-one "${common[@]}" --image-weight 1.5 --out out
usage nan-learning-rate "${common[@]}" --learning-rate nan --out out
usage no-neighbours "${common[@]}" --neighbours 0 --out out
usage no-heads "${common[@]}" --heads 0 --out out
usage too-many-threads "${common[@]}" --threads 1000000 --out out
usage predict-without-model predict --samples data/samples.csv --test D --out out

# ---- Files ----------------------------------------------------------------------------------------------------------

run_it "${common[@]}" --epochs 6 --seed 5 --predict retrieval --gemm own --threads 1 --out first
check run/status "status $status: $(last_error)" test "$status" = 0
for file in metrics.json predictions/D.csv.gz predictions/mclstexp_linear/D.csv.gz model/model.json \
  model/ensemble.safetensors model/member-0.safetensors model/member-1.safetensors log.jsonl report.html genes/D.csv; do
  check "run/writes-$file" "is missing or empty" test -s "first/$file"
done
check run/no-temporary-files "$(find first -name '*.part-*')" none_left first
for method in mclstexp mclstexp_linear constant ridge; do
  check "run/metrics-$method" "no result of $method" grep -q "\"method\": \"$method\"" first/metrics.json
done
for key in sample pearson_gene_mean pearson_heg30_mean spearman_gene_mean mse mae pearson_gene_undefined settings seed \
  version seconds predictor validation pearson_gene_mean_retrieval pearson_gene_mean_linear; do
  check "run/metrics-$key" "is missing" grep -q "\"$key\":" first/metrics.json
done
check run/metrics-seed "is not that of the command line" grep -Eq '"seed": 5,?$' first/metrics.json
block first/metrics.json mclstexp >numbers
check run/metrics-finite "$(grep -n null numbers | head -n 1)" test -s numbers -a "$(grep -c null numbers)" = 0
check run/predictions-shape "$(zcat first/predictions/D.csv.gz | awk -F, '{ print NF }' | sort | uniq -c | tr '\n' ';')" \
  test "$(zcat first/predictions/D.csv.gz | awk -F, 'NF == 31' | wc -l)" = 41
check run/predictions-header "$(zcat first/predictions/D.csv.gz | head -n 1)" \
  test "$(zcat first/predictions/D.csv.gz | head -n 1 | cut -d, -f1,2)" = spot,G00
check run/log-lines "$(wc -l <first/log.jsonl) lines" each_epoch_once first 12
check run/log-numbers "$(head -n 1 first/log.jsonl)" grep -Eq '"loss":[0-9.]+,"validation":[0-9.e-]+' first/log.jsonl
check run/report "is no whole page" grep -qi '</html>' first/report.html
check run/report-self-contained "it loads something" \
  test -z "$(grep -oE '(src|href)="https?://[^"]*"' first/report.html | head -n 1)"

# ---- The same numbers again -----------------------------------------------------------------------------------------

run_it "${common[@]}" --epochs 6 --seed 5 --predict retrieval --gemm own --threads 2 --quiet --out second
check same/quiet "it said: $(cat stdout stderr | head -n 1)" test ! -s stdout -a ! -s stderr
check same/members "two threads differ from one" same_members first second
check same/ensemble "two threads differ from one" cmp first/model/ensemble.safetensors second/model/ensemble.safetensors
for file in D mclstexp_linear/D; do
  check "same/predictions-$file" "two threads differ from one" \
    same_table "first/predictions/$file.csv.gz" "second/predictions/$file.csv.gz"
done
for seed in 5 6; do run_it "${short[@]}" --seed $seed --quiet --out "seed-$seed"; done
run_it "${short[@]}" --seed 5 --quiet --out seed-again
check same/members-again "the same seed gives other parameters" same_members seed-5 seed-again
if same_members seed-5 seed-6 >/dev/null; then fail same/other-seed "another seed gives the same parameters"; else ok same/other-seed; fi

# ---- predict --------------------------------------------------------------------------------------------------------

run_it predict --model first/model --samples data/samples.csv --test D,C --gemm own --threads 2 --out predicted
check predict/status "status $status: $(last_error)" test "$status" = 0
for file in D mclstexp_linear/D; do
  check "predict/predictions-$file" "they differ from those of the run" \
    same_table "first/predictions/$file.csv.gz" "predicted/predictions/$file.csv.gz"
done
[ -s predicted/metrics.json ] && block predicted/metrics.json mclstexp >both
: >>both
grep -A100 '"sample": "D"' both | sed '/^  }/q' >again
check predict/numbers "they differ from those of the run" \
  cmp <(sed -n '/pearson_gene_mean/,/rmse/p' numbers) <(sed -n '/pearson_gene_mean/,/rmse/p' again)
cat >data/places.csv <<END
sample,patient,counts,spots,image,features,composition
D,,,spots/D.tsv,,features/D.csv,
END
run_it predict --model first/model --samples data/places.csv --test D --gemm own --quiet --out places
check predict/without-counts "status $status: $(last_error)" test "$status" = 0
check predict/without-counts-predictions "they differ from those of the run" \
  same_table first/predictions/D.csv.gz places/predictions/D.csv.gz
run_it "${short[@]}" --standardise training --predict linear --quiet --out training
run_it predict --model training/model --samples data/places.csv --test D --quiet --out training-again
check predict/training-standardisation "status $status: $(last_error)" \
  same_table training/predictions/D.csv.gz training-again/predictions/D.csv.gz

# ---- Killed and continued -------------------------------------------------------------------------------------------

long=("${common[@]}" --batch 16 --epochs 300 --patience 0 --checkpoint-every 5 --seed 9 --gemm own --threads 1
  --positive-radius 1.5 --learned-temperature on --quiet)
total=600
run_it "${long[@]}" --out whole
check resume/uninterrupted "status $status: $(last_error)" test "$status" = 0
check resume/uninterrupted-log "$(wc -l <whole/log.jsonl) lines" each_epoch_once whole $total

start_and_signal KILL 60 "${long[@]}" --out killed
check resume/killed-in-first-member "status $status, $(wc -l <killed/log.jsonl) lines" \
  test "$status" = 137 -a ! -e killed/metrics.json -a ! -e killed/model/member-0.safetensors
check resume/checkpoint "is missing" test -s killed/model/checkpoint.safetensors
run_it "${long[@]}" --learning-rate 0.01 --resume --out killed
check resume/other-settings "status $status: $(cat stderr)" grep -Eq '^mclstexp: .*checkpoint.*other settings' stderr
cp data/features/A.csv kept
sed -i '2s/,[0-9.]*$/,9/' data/features/A.csv
run_it "${long[@]}" --resume --out killed
check resume/other-data "status $status: $(cat stderr)" grep -Eq '^mclstexp: .*checkpoint.*other data' stderr
mv kept data/features/A.csv
# A line that was cut by the kill.
printf '{"member":0,"epo' >>killed/log.jsonl
start_and_signal KILL 330 "${long[@]}" --resume --out killed
check resume/killed-in-second-member "status $status, $(wc -l <killed/log.jsonl) lines" \
  test "$status" = 137 -a ! -e killed/metrics.json -a -e killed/model/member-0.safetensors
: >killed/model/member-1.safetensors.part-1-0
run_it "${long[@]}" --resume --out killed
check resume/status "status $status: $(last_error)" test "$status" = 0
check resume/members "they differ from those of an uninterrupted run" same_members whole killed
check resume/predictions "they differ from those of an uninterrupted run" \
  same_table whole/predictions/D.csv.gz killed/predictions/D.csv.gz
check resume/ensemble "it differs from that of an uninterrupted run" \
  cmp whole/model/ensemble.safetensors killed/model/ensemble.safetensors
check resume/log "$(wc -l <killed/log.jsonl) lines" each_epoch_once killed $total
check resume/no-temporary-files "$(find killed -name '*.part-*')" none_left killed
run_it "${long[@]}" --resume --out killed
check resume/finished-run "status $status: $(last_error)" same_members whole killed
rm -rf killed
start_and_signal INT 60 "${long[@]}" --out killed
check interrupt/status "status $status" test "$status" = 1
check interrupt/message "$(cat stderr)" grep -Eq '^mclstexp: stopped in epoch [0-9]+.*--resume' stderr
check interrupt/checkpoint "is missing" test -s killed/model/checkpoint.safetensors -a ! -e killed/metrics.json
run_it "${long[@]}" --resume --out killed
check interrupt/resumed "status $status: $(last_error)" same_members whole killed

# A run that starts anew over an old one and fails must not leave the old numbers beside the new model.
cp -r first stale
run_it "${common[@]}" --epochs 20 --batch 16 --learning-rate 1e30 --quiet --out stale
check run/diverges "status $status: $(last_error)" test "$status" = 1
check run/diverges-message "$(cat stderr)" grep -Eq '^mclstexp: .*(learning rate|finite)' stderr
check run/diverges-leaves-no-results "old results are still there" \
  test ! -e stale/metrics.json -a ! -e stale/report.html -a ! -e stale/predictions/D.csv.gz -a ! -e stale/genes/D.csv

# ---- Every switch ---------------------------------------------------------------------------------------------------

for word in learned sinusoidal none; do works "switch/position-$word" "${short[@]}" --position "$word"; done
for word in attention mlp; do
  works "switch/spot-encoder-$word" "${short[@]}" --spot-encoder "$word" --position learned --standardise-expression off
done
works switch/no-blocks "${bare[@]}" --depth 0 --folds 2
works switch/normalize-off "${short[@]}" --normalize off --temperature 1
works switch/learned-temperature "${short[@]}" --learned-temperature on --image-weight 0.8
works switch/positive-radius "${short[@]}" --positive-radius 1.5
works switch/batch-0 "${short[@]}" --batch 0 --sentences section
works switch/sentences-batch "${short[@]}" --batch 16 --sentences batch
works switch/dropout-0 "${short[@]}" --dropout 0 --feature-noise 0
for word in adamw adam sgd; do
  works "switch/optimiser-$word" "${short[@]}" --optimiser "$word" --learning-rate 0.002 --weight-decay 0.1 --clip-norm 1
done
for word in auto retrieval linear; do
  works "switch/predict-$word" "${short[@]}" --predict "$word"
  check "switch/predict-$word-choice" "$(grep -E '"predict(or)?":' out/metrics.json | tr -d '\n')" \
    grep -qE "\"predictor\": \"${word/auto/(retrieval|linear)}\"" out/metrics.json
done
for distance in l1 l2; do
  for weighting in inverse-square uniform; do
    works "switch/$distance-$weighting" "${short[@]}" --distance $distance --weighting $weighting --calibrate off
  done
done
works switch/more-neighbours-than-spots "${bare[@]}" --depth 1 --folds 2 --neighbours 5000
for word in gene-axis sentences-of-32 hvg-with-test; do
  works "switch/compat-$word" "${short[@]}" --hvg 20 --compat "$word"
done
works switch/patience "${common[@]}" --epochs 100 --patience 1
works switch/no-epochs "${common[@]}" --epochs 0
works switch/folds "${bare[@]}" --depth 1 --folds 1 --members 2
works switch/validate run --samples data/samples.csv --train A,B --validate C --test D "${tiny[@]}" --epochs 2
works switch/one-training-sample run --samples data/samples.csv --train A --test D,C "${tiny[@]}" --epochs 2
works switch/patch-size "${short[@]}" --patch-size 25
works switch/no-checkpoints "${short[@]}" --checkpoint-every 0
works switch/show "${short[@]}" --show G07,G21
check switch/show-maps "no map of a chosen gene" grep -q '<h3>Chosen genes</h3>' out/report.html
works switch/domains "${short[@]}" --domains 3
check switch/domains-metrics "no domains" grep -q '"predicted_with_measured"' out/metrics.json
printf 'G03\nG07\n\nG11 \nNOWHERE\n' >genes.txt
works switch/genes "${short[@]}" --genes genes.txt
check switch/genes-selected "$(zcat out/predictions/D.csv.gz | head -n 1)" \
  test "$(zcat out/predictions/D.csv.gz | head -n 1)" = spot,G03,G07,G11
printf 'G04\n' >one-gene.txt
works switch/one-gene "${short[@]}" --genes one-gene.txt
for word in own eigen cblas onednn; do
  rm -rf out
  run_it "${short[@]}" --gemm "$word" --quiet --out out
  if [ "$status" = 1 ] && grep -q 'was built without' stderr; then skipped "switch/gemm-$word" "$(last_error)"
  elif [ "$status" = 0 ]; then ok "switch/gemm-$word"
  else fail "switch/gemm-$word" "status $status: $(last_error)"; fi
done
works switch/math "${short[@]}" --math bf16

# A simulation takes most of the time here.
works simulate run --simulate 1 --noise 0.5 --train S1,S2 --test S3 "${tiny[@]}" --epochs 1 --threads 2
check simulate/methods "$(grep '"method"' out/metrics.json | sort -u | tr -d '\n')" \
  test "$(grep -cE '"method": "mclstexp(_linear|_retrieval)?"' out/metrics.json)" = 2
check simulate/controls "a control is missing" all_words out/metrics.json '"method": "constant"' '"method": "ridge"'
check simulate/retrieval-view "the report has none" grep -qi 'nearest training spots\|training spots found\|retriev' out/report.html
check simulate/retrieval-pictures "no pictures" grep -q 'data:image' out/report.html

# ---- Images ---------------------------------------------------------------------------------------------------------

# A picture of 24 x 17 pixels with six spots.
mkdir -p picture
for s in A B C; do
  printf 'x\ty\tpixel_x\tpixel_y\n1\t1\t4\t4\n2\t1\t12\t4\n3\t1\t20\t4\n1\t2\t4\t12\n2\t2\t12\t12\n3\t2\t20\t12\n' >picture/$s.spots
  printf '\tG1\tG2\n1x1\t3\t5\n2x1\t2\t6\n3x1\t4\t1\n1x2\t5\t2\n2x2\t1\t7\n3x2\t6\t3\n' >picture/$s.tsv
done
cp "$images"/small.png picture/
printf 'sample,patient,counts,spots,image,features,composition\nA,,A.tsv,A.spots,small.png,,\nB,,B.tsv,B.spots,small.png,,\nC,,C.tsv,C.spots,small.png,,\n' \
  >picture/samples.csv
pictures=(run --samples picture/samples.csv --train A --test B "${tiny[@]}" --epochs 1)
run_it "${pictures[@]}" --out picture-out
if [ "$status" = 1 ] && grep -q 'built without\|was not found when' stderr; then
  skipped image "$(last_error)"
else
  works image/features "${pictures[@]}" --encoder features
  check image/retrieval-pictures "the report has none" grep -q 'data:image' out/report.html
  network=("${pictures[@]}" --encoder resnet18 --image-size 32)
  works network/frozen "${network[@]}" --freeze-encoder --feature-cache cache --image-normalisation none
  cp out/predictions/B.csv.gz frozen.csv.gz
  check network/cache "no file in the cache" test -n "$(ls cache)"
  works network/cached "${network[@]}" --freeze-encoder --feature-cache cache --image-normalisation none
  check network/cached-predictions "they differ" same_table frozen.csv.gz out/predictions/B.csv.gz
  works network/trained "${network[@]}" --batch 3 --jitter 0.2 --flip off --rotation 90 --checkpoint-every 0
  cp out/predictions/B.csv.gz trained.csv.gz
  mv out trained
  run_it predict --model trained/model --samples picture/samples.csv --test B --quiet --out trained-again
  check network/predict "status $status: $(last_error)" same_table trained.csv.gz trained-again/predictions/B.csv.gz
  # Of two members, stopped on each other's samples, at least one keeps an epoch before its last.
  folded=(run --samples picture/samples.csv --train A,C --test B "${tiny[@]}" --encoder resnet18 --image-size 32 --batch 3
    --epochs 3 --learning-rate 0.001 --gemm own --threads 1 --quiet --out folded)
  run_it "${folded[@]}"
  check network/folds "status $status: $(last_error)" test "$status" = 0
  cp folded/model/ensemble.safetensors folded.safetensors
  run_it "${folded[@]}" --resume
  check network/resumed-ensemble "the finished run continued gives another ensemble" \
    cmp folded.safetensors folded/model/ensemble.safetensors
  rm -rf folded trained trained-again
  for word in no-final-relu augmented-test; do
    works "network/compat-$word" "${network[@]}" --freeze-encoder --image-normalisation compat --compat "$word"
  done
fi

# ---- Bad input ------------------------------------------------------------------------------------------------------

# broken NAME WORDS FILE COMMAND...: the samples with FILE replaced by what COMMAND makes of it (standard input to output).
broken() {
  local name=$1 words=$2 file=$3
  shift 3
  rm -rf broken
  cp -r data broken
  "$@" <"data/$file" >"broken/$file"
  bad "$name" "$words" run --samples broken/samples.csv --train A,B,C --test D "${tiny[@]}" --epochs 2
}
broken manifest-column 'samples.csv|composition' samples.csv cut -d, -f1-6
broken manifest-no-counts 'samples.csv:4|counts|sample C' samples.csv sed 's/^C,P2,[^,]*/C,P2,/'
broken missing-features 'features/missing.csv|no such file' samples.csv sed 's/features\/D.csv/features\/missing.csv/'
broken no-matching-spot 'spots/A.tsv|counts/A.tsv' spots/A.tsv awk 'BEGIN { OFS = "\t" } NR > 1 { $1 += 100 } { print }'
broken spot-column 'spots/A.tsv|pixel_y' spots/A.tsv sed 1s/pixel_y/row/
broken nan-feature 'features/B.csv:7|f3' features/B.csv at_cell , 7 4 nan
broken infinite-feature 'features/D.csv:7|f3' features/D.csv at_cell , 7 4 inf
broken other-features 'features/D.csv|5|6' features/D.csv cut -d, -f1-6
broken negative-count 'counts/A.tsv:5|G02' counts/A.tsv at_cell '\t' 5 4 -3
broken truncated-gzip 'counts/B.tsv.gz' counts/B.tsv.gz head -c 300
bad manifest-missing 'nowhere.csv|no such file' run --samples nowhere.csv --train A --test B
bad unknown-sample "data/samples.csv|'Z'|A, B, C, D" run --samples data/samples.csv --train A,Z --test D
bad sample-on-two-sides "'A'|test" run --samples data/samples.csv --train A,B --test A
printf 'X1\nX2\n' >nothing.txt
bad genes-without-match 'nothing.txt' "${short[@]}" --genes nothing.txt
bad genes-missing 'none.txt|no such file' "${short[@]}" --genes none.txt
bad show-unknown-gene "--show|'ERBB2'|30 genes" "${short[@]}" --show G01,ERBB2
bad domains-beyond-spots '--domains|sample D|40 spots' "${short[@]}" --domains 41
bad network-without-images 'image' "${short[@]}" --encoder resnet18
if [ -s picture-out/metrics.json ]; then
  bad weights-missing 'nowhere.safetensors|no such file' "${pictures[@]}" --weights nowhere.safetensors
  cp -r picture-out stale-picture
  run_it "${pictures[@]}" --weights nowhere.safetensors --quiet --out stale-picture
  check bad/weights-missing-keeps-results "status $status, older results are gone" \
    test "$status" = 1 -a -s stale-picture/metrics.json -a -s stale-picture/model/member-0.safetensors
  cp data/samples.csv weights.safetensors
  bad weights-are-text 'weights.safetensors' "${pictures[@]}" --weights weights.safetensors
  bad weights-of-another-network 'member-0.safetensors' "${pictures[@]}" --weights first/model/member-0.safetensors
  sed 's/\t20\t12$/\t200\t12/' picture/B.spots >picture/B.outside && mv picture/B.outside picture/B.spots
  bad image-too-small 'small.png|200|24' "${pictures[@]}"
  head -c 700 "$images"/small.png >picture/small.png
  bad image-truncated 'small.png' "${pictures[@]}"
fi

# The folder of results itself.
: >taken
run_it "${short[@]}" --quiet --out taken
check bad/out-is-a-file "status $status: $(cat stderr)" test "$status" = 1 -a "$(grep -c '^mclstexp: taken' stderr)" = 1

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
model other-format 'model/model.json|not a model' model.json sed 's/eosin mclstexp/something/'
model no-genes 'model/model.json|genes' model.json sed 's/"genes": \[/"names": [/'
model odd-word 'model/model.json|tower' model.json sed 's/"spot_encoder": "attention"/"spot_encoder": "tower"/'
model more-members 'model/member-2.safetensors|no such file' model.json sed 's/"members": 2/"members": 3/'
model other-width 'model/member-0.safetensors' model.json sed 's/"head_width": 4/"head_width": 5/'
model truncated-member 'model/member-1.safetensors' member-1.safetensors head -c 500
model truncated-ensemble 'model/ensemble.safetensors' ensemble.safetensors head -c 500
rm -rf killed
cp -r whole killed
rm killed/metrics.json
head -c 700 whole/model/checkpoint.safetensors >killed/model/checkpoint.safetensors
run_it "${long[@]}" --resume --out killed
check bad/checkpoint-truncated "status $status: $(cat stderr)" \
  test "$status" = 1 -a "$(grep -c '^mclstexp: .*killed/model/checkpoint.safetensors' stderr)" = 1 -a ! -e killed/metrics.json

# ---- Was every option used? -----------------------------------------------------------------------------------------

every_option_used help_run help_predict
finish
