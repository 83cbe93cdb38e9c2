#!/usr/bin/env bash
# The accuracy tables of docs/rna-vae.md: PCA against the RNA VAE on two sets of real counts, five seeds (each with its own
# split and its own initial weights), judged on the hold-out.
#   tools/real_data.sh DATA_DIR [OUT_DIR] [SEEDS] [extra options of 'panvae train rna' ...]
# DATA_DIR holds rna_counts_15cohorts and rna_counts_full_6cohorts (.tsv.gz and _obs.tsv).
set -euo pipefail
data=${1:?usage: tools/real_data.sh DATA_DIR [OUT_DIR] [SEEDS] [train options]}
out=${2:-real_data}
seeds=${3:-"0 1 2 3 4"}
shift $(($# < 3 ? $# : 3))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
mkdir -p "$out"
value() { grep -o "\"$2\": [-0-9.e]*" "$1" | head -n 1 | sed 's/.*: //'; }
printf 'set\tseed\tpca\tvae\tvae_latent_units\tspearman\tinformative_axes\tbest_epoch\ttrain_seconds\n' | tee "$out/table.tsv"
for set in ${SETS:-rna_counts_15cohorts rna_counts_full_6cohorts}; do
  [ -e "$out/$set.h5ad" ] || "$panvae" convert -o "$out/$set.h5ad" "$data/$set.tsv.gz" --rows features --obs "$data/${set}_obs.tsv" --quiet >/dev/null
  for seed in $seeds; do
    d=$out/$set.$seed
    mkdir -p "$d"
    "$panvae" preprocess -o "$d/x.h5ad" "$out/$set.h5ad" --modality rna --where sample_type=tumor --seed "$seed" --quiet --json "$d/preprocess.json" >/dev/null
    "$panvae" pca -o "$d/pca.h5ad" "$d/x.h5ad" --components 512 --quiet --json "$d/pca.json" >/dev/null
    "$panvae" train rna -o "$d/run" "$d/x.h5ad" --seed "$seed" --overwrite --quiet --json "$d/train.json" "$@" >/dev/null
    "$panvae" embed -o "$d/vae.h5ad" "$d/run" "$d/x.h5ad" --quiet >/dev/null
    "$panvae" embed -o "$d/units.h5ad" "$d/run" "$d/x.h5ad" --axes latent --quiet >/dev/null
    "$panvae" reconstruct -o "$d/reconstructed.h5ad" "$d/run" "$d/x.h5ad" --quiet --json "$d/reconstruct.json" >/dev/null
    for e in pca vae units; do "$panvae" evaluate cohort "$d/$e.h5ad" --on holdout --seed "$seed" --quiet --json "$d/$e.cohort.json" >/dev/null; done
    rm -f "$d/reconstructed.h5ad" "$d/run/checkpoint.safetensors"
    printf '%s\t%s\t%.3f\t%.3f\t%.3f\t%.4f\t%s\t%s\t%.0f\n' "$set" "$seed" "$(value "$d/pca.cohort.json" accuracy_mean)" "$(value "$d/vae.cohort.json" accuracy_mean)" \
      "$(value "$d/units.cohort.json" accuracy_mean)" "$(value "$d/reconstruct.json" spearman_per_sample_mean)" "$(value "$d/train.json" informative_axes)" \
      "$(value "$d/train.json" best_epoch)" "$(value "$d/train.json" seconds)" | tee -a "$out/table.tsv"
  done
  awk -F'\t' -v s="$set" '$1 == s {n++; p += $3; v += $4; u += $5; r += $6} END {printf "%s\tmean\t%.3f\t%.3f\t%.3f\t%.4f\n", s, p/n, v/n, u/n, r/n}' "$out/table.tsv" | tee -a "$out/table.tsv"
done
