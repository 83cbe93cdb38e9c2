#!/usr/bin/env bash
# The reports of docs/results.md: two sets of real counts, the RNA VAE and its linear variant, every benchmark, one page each.
#   tools/report_data.sh DATA_DIR [OUT_DIR]
# DATA_DIR holds rna_counts_15cohorts and rna_counts_full_6cohorts (.tsv.gz and _obs.tsv).
set -euo pipefail
data=${1:?usage: tools/report_data.sh DATA_DIR [OUT_DIR]}
out=${2:-report_data}
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
for set in ${SETS:-rna_counts_15cohorts rna_counts_full_6cohorts}; do
  d=$out/$set
  mkdir -p "$d"
  "$panvae" convert -o "$d/counts.h5ad" "$data/$set.tsv.gz" --rows features --obs "$data/${set}_obs.tsv" --where sample_type=tumor --quiet >/dev/null
  "$panvae" preprocess -o "$d/x.h5ad" "$d/counts.h5ad" --modality rna --quiet >/dev/null
  for activation in relu linear; do
    run=$d/rna_$([ $activation = relu ] && echo vae || echo linear_vae)
    [ -e "$run/model.safetensors" ] || "$panvae" train rna -o "$run" "$d/x.h5ad" --set model.activation=$activation --overwrite
  done
  "$panvae" evaluate all "$d/rna_vae" "$d/rna_linear_vae" -o "$d/results" --baseline thin --counts "$d/counts.h5ad"
  "$panvae" report -o "$d/report.html" "$d/results" --title "${TITLE:-$set}"
done
