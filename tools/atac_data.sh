#!/usr/bin/env bash
# The table of simulated ATAC in docs/results.md: studies with everything planted (600 donors with two replicates each, 12 cohorts, 40,000
# peaks), one per seed. Cohort accuracy of the planted factors themselves, of PCA and of the hierarchical VAE, on the donors held
# out and on all; reconstructions by Spearman's correlation per sample.
#   tools/atac_data.sh [OUT_DIR] [SEEDS] [DONORS] [PEAKS] [extra options of 'panvae train atac' ...]
set -euo pipefail
out=${1:-atac_data}
seeds=${2:-"0 1 2"}
donors=${3:-600}
peaks=${4:-40000}
shift $(($# < 4 ? $# : 4))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
mkdir -p "$out"
value() { grep -o "\"$2\": [-0-9.e]*" "$1" | head -n 1 | sed 's/.*: //'; }
printf 'seed\tmodel\ton\taccuracy\tse\tspearman\n' >"$out/table.tsv"

# judge SEED MODEL SPEARMAN EMBEDDING OPTIONS...
judge() {
  local seed=$1 model=$2 spearman=$3 embedding=$4 json=$out/$1/cohort.json
  shift 4
  for on in holdout all; do
    "$panvae" evaluate cohort "$embedding" --on "$on" --seed "$seed" --quiet --json "$json" "$@" >/dev/null
    printf '%s\t%s\t%s\t%.4f\t%.4f\t%s\n' "$seed" "$model" "$on" "$(value "$json" accuracy_mean)" "$(value "$json" accuracy_se)" "$spearman" >>"$out/table.tsv"
  done
}

for seed in $seeds; do
  d=$out/$seed
  mkdir -p "$d"
  [ -e "$d/x.h5ad" ] || {
    "$panvae" simulate -o "$d/sim" --donors "$donors" --peaks "$peaks" --atac-fraction 1 --seed "$seed" --quiet >/dev/null
    "$panvae" preprocess -o "$d/x.h5ad" "$d/sim/atac.h5ad" --modality atac --quiet >/dev/null
  }
  "$panvae" train atac -o "$d/run" "$d/x.h5ad" --seed "$seed" --overwrite --quiet "$@" >/dev/null
  "$panvae" embed -o "$d/vae.h5ad" "$d/run" "$d/x.h5ad" --quiet >/dev/null
  "$panvae" reconstruct -o "$d/reconstructed.h5ad" "$d/run" "$d/x.h5ad" --quiet --json "$d/reconstruct.json" >/dev/null
  rm "$d/reconstructed.h5ad"
  latent=$("$panvae" info "$d/vae.h5ad" --json - | grep -o '"features": [0-9]*' | head -n 1 | sed 's/.*: //')
  judge "$seed" 'planted factors' '' "$d/sim/latents.tsv" --obs "$d/sim/donors.tsv"
  judge "$seed" 'ATAC VAE' "$(value "$d/reconstruct.json" spearman_per_sample_mean)" "$d/vae.h5ad"
  # Spearman of PCA is that of evaluate all, on the hold-out.
  "$panvae" evaluate all "$d/run" --data "$d/x.h5ad" --pca 16,latent,512 -o "$d/results" --seed "$seed" --quiet >"$d/all.txt"
  for k in 16 "$latent" 512; do
    "$panvae" pca -o "$d/pca.h5ad" "$d/x.h5ad" --components "$k" --quiet >/dev/null
    judge "$seed" "PCA, $k" "$(sed -n "s/^PCA, $k  .* \([0-9.]*\)$/\1/p" "$d/all.txt")" "$d/pca.h5ad"
  done
done
awk -F'\t' 'NR > 1 {k = $2 "\t" $3; n[k]++; a[k] += $4; a2[k] += $4 * $4; s[k] += $6}
  END {print "model\ton\taccuracy\tse over seeds\tspearman"
       for (k in n) {
         v = (a2[k] - a[k] * a[k] / n[k]) / (n[k] - 1 + (n[k] == 1)) / n[k]
         printf("%s\t%.3f\t%.3f\t%.4f\n", k, a[k] / n[k], sqrt(v < 0 ? 0 : v), s[k] / n[k]) | "sort -t\"\t\" -k2,2 -k3,3nr"
       }
  }' "$out/table.tsv" | tee "$out/means.tsv"
