#!/usr/bin/env bash
# The table of sorted T cells in docs/results.md: raw ATAC counts of 33 samples (4 cell types, resting and stimulated, 5 donors), each
# of four donors left out in turn: preprocessing, PCA and the ATAC VAE see only the others, and so does the classifier that
# names the left-out donor's cell types and stimuli.
#   tools/tcells_data.sh DATA_DIR [OUT_DIR] [SEEDS] [extra options of 'panvae train atac' ...]
# DATA_DIR holds atac_counts_tcells.tsv.gz and atac_counts_tcells_obs.tsv.
set -euo pipefail
data=${1:?usage: tools/tcells_data.sh DATA_DIR [OUT_DIR] [SEEDS] [train options]}
out=${2:-tcells_data}
seeds=${3:-"0 1 2"}
shift $(($# < 3 ? $# : 3))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
set=atac_counts_tcells
donors=(D1001 D1002 D1003 D1004)
mkdir -p "$out"
# The accuracy of one fold: fold_of JSON FOLD
fold_of() { tr -d ' \n' <"$1" | sed 's/.*"folds":\[\([^]]*\)\].*/\1/' | cut -d, -f$(($2 + 1)); }
printf 'seed\tleft out\tembedding\tlabel\taccuracy\n' >"$out/table.tsv"

for i in 0 1 2 3; do
  d=$out/${donors[$i]}
  mkdir -p "$d"
  # The donor after the one left out validates; the fifth donor, of a single sample, always trains.
  awk -F'\t' -v OFS='\t' -v out="${donors[$i]}" -v validation="${donors[$(((i + 1) % 4))]}" '
    NR == 1 {print $0, "split", "fold"; next}
    {print $0, $2 == out ? "holdout" : $2 == validation ? "validation" : "train", $2 == "D1011" ? 4 : substr($2, 5) - 1}' "$data/${set}_obs.tsv" >"$d/obs.tsv"
  "$panvae" preprocess -o "$d/x.h5ad" "$data/$set.tsv.gz" --rows features --obs "$d/obs.tsv" --modality atac --quiet >/dev/null
  "$panvae" pca -o "$d/pca.h5ad" "$d/x.h5ad" --quiet >/dev/null
  for seed in $seeds; do
    "$panvae" train atac -o "$d/run$seed" "$d/x.h5ad" --seed "$seed" --overwrite --quiet "$@" >/dev/null
    "$panvae" embed -o "$d/vae$seed.h5ad" "$d/run$seed" "$d/x.h5ad" --quiet >/dev/null
    for embedding in pca vae$seed; do
      for label in cohort stimulus; do
        "$panvae" evaluate cohort "$d/$embedding.h5ad" --on all --cohort-key "$label" --fold-key fold --folds 4 --seed "$seed" --quiet --json "$d/cohort.json" >/dev/null
        printf '%s\t%s\t%s\t%s\t%s\n' "$seed" "${donors[$i]}" "${embedding%"$seed"}" "$label" "$(fold_of "$d/cohort.json" "$i")" >>"$out/table.tsv"
      done
    done
  done
done
awk -F'\t' 'NR > 1 {k = $3 "\t" $4; n[k]++; s[k] += $5}
  END {print "embedding\tlabel\tmean accuracy on the donor left out"; for (k in n) printf("%s\t%.3f\n", k, s[k] / n[k]) | "sort"}' "$out/table.tsv" | tee "$out/means.tsv"
