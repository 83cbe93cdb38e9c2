#!/usr/bin/env bash
# The survival table of docs/results.md: patients of 15 tumour types, five seeds (each with its own split, its own initial weights
# and its own folds). Clinical covariates alone, the top components of PCA, of the RNA VAE and of its linear variant, and both
# together; over all pairs of patients and within cohorts; on all patients and on the hold-out alone.
#   tools/survival_data.sh DATA_DIR [OUT_DIR] [SEEDS] [TOP_K] [extra options of 'panvae train rna' ...]
# DATA_DIR holds rna_log2_15cohorts.tsv.gz and rna_log2_15cohorts_obs.tsv.
set -euo pipefail
data=${1:?usage: tools/survival_data.sh DATA_DIR [OUT_DIR] [SEEDS] [TOP_K] [train options]}
out=${2:-survival_data}
seeds=${3:-"0 1 2 3 4"}
top_k=${4:-auto}
shift $(($# < 4 ? $# : 4))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
set=rna_log2_15cohorts
clinical='--covariate age --covariate sex --covariate cohort'
mkdir -p "$out"
value() { grep -o "\"$2\": [-0-9.e]*" "$1" | head -n 1 | sed 's/.*: //'; }
printf 'seed\ton\tembedding\tsetting\tpairs\tharrell\tuno\ttop_k\tn\tevents\n' >"$out/table.tsv"
[ -e "$out/$set.h5ad" ] || "$panvae" convert -o "$out/$set.h5ad" "$data/$set.tsv.gz" --rows features --obs "$data/${set}_obs.tsv" --quiet >/dev/null

# judge SEED EMBEDDING SETTING OPTIONS...
judge() {
  local seed=$1 embedding=$2 setting=$3 d=$out/$1
  shift 3
  for on in all holdout; do
    for pairs in all within; do
      "$panvae" evaluate survival "$d/$embedding.h5ad" --on "$on" --seed "$seed" "$@" $([ "$pairs" = within ] && echo --stratify cohort) --quiet --json "$d/survival.json" >/dev/null
      printf '%s\t%s\t%s\t%s\t%s\t%.4f\t%.4f\t%s\t%s\t%s\n' "$seed" "$on" "$embedding" "$setting" "$pairs" "$(value "$d/survival.json" harrell_mean)" \
        "$(value "$d/survival.json" uno_mean)" "$(value "$d/survival.json" top_k)" "$(value "$d/survival.json" n)" "$(value "$d/survival.json" events)" >>"$out/table.tsv"
    done
  done
}

for seed in $seeds; do
  d=$out/$seed
  mkdir -p "$d"
  "$panvae" preprocess -o "$d/x.h5ad" "$out/$set.h5ad" --modality rna --input log --seed "$seed" --quiet >/dev/null
  "$panvae" pca -o "$d/pca.h5ad" "$d/x.h5ad" --components 512 --quiet >/dev/null
  for model in vae linear_vae; do
    activation=$([ "$model" = vae ] && echo relu || echo linear)
    [ -e "$d/$model/model.safetensors" ] || "$panvae" train rna -o "$d/$model" "$d/x.h5ad" --seed "$seed" --set model.activation="$activation" --overwrite --quiet "$@" >/dev/null
    "$panvae" embed -o "$d/$model.h5ad" "$d/$model" "$d/x.h5ad" --quiet >/dev/null
  done
  judge "$seed" pca clinical --top-k 0 $clinical
  for embedding in pca vae linear_vae; do
    judge "$seed" "$embedding" embedding --top-k "$top_k"
    judge "$seed" "$embedding" both --top-k "$top_k" $clinical
  done
done
# Means over the seeds.
awk -F'\t' 'NR > 1 {k = $2 "\t" $3 "\t" $4 "\t" $5; n[k]++; h[k] += $6; h2[k] += $6 * $6; u[k] += $7; c[k] += $8}
  END {print "on\tembedding\tsetting\tpairs\tharrell\tsd over seeds\tuno\ttop_k"
       for (k in n) {
         v = (h2[k] - h[k] * h[k] / n[k]) / (n[k] - 1 + (n[k] == 1))
         printf("%s\t%.3f\t%.3f\t%.3f\t%.0f\n", k, h[k] / n[k], sqrt(v < 0 ? 0 : v), u[k] / n[k], c[k] / n[k]) | "sort"
       }
  }' \
  "$out/table.tsv" | tee "$out/means.tsv"
