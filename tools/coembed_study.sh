#!/usr/bin/env bash
# The table of simulated co-embedding in docs/results.md: studies with everything planted, one per seed. RNA of all donors, ATAC of some
# (two replicates each); a VAE of each modality, then the co-embeddings by an adversary and by contrast, each with the pair term and
# without (the losses of the paper to the letter), and canonical correlation analysis beside them. Everything is judged on donors that
# nothing has seen; cohort accuracy is that of a classifier that learned from the training donors' embeddings. The discriminator of the
# separate VAEs is one that was trained on their embeddings as they are. What is there already is not trained again.
#   tools/coembed_study.sh [OUT_DIR] [SEEDS] [extra options of 'panvae train coembed' ...]
# DONORS, GENES, PEAKS, ATAC_FRACTION and LATENT in the environment change the studies.
set -euo pipefail
out=${1:-coembed_study}
seeds=${2:-"0 1 2"}
shift $(($# < 2 ? $# : 2))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
latent=${LATENT:-64}
mkdir -p "$out"
value() { sed -n "s/^ *\"$2\": \([-0-9.e]*\),\{0,1\}$/\1/p" "$1" | head -n 1; }
run() { "$panvae" "$@" --quiet >/dev/null; }
# The accuracy of the first fold, which is the hold-out: folds are in the order of their names.
on_holdout() { tr -d ' \n' <"$1" | sed 's/.*"folds":\[\([^],]*\).*/\1/'; }
columns="foscttm foscttm_within_cohort recall_at_1 recall_at_10 transfer_atac_to_rna transfer_rna_to_atac mixing_entropy"
printf 'seed\tmodel\t%s\tdiscriminator\trna_accuracy\tatac_accuracy\timputed_per_sample\timputed_per_feature\timputed_mse\tbeyond_cohort\n' \
  "${columns// /$'\t'}" >"$out/table.tsv"

# judge SEED MODEL RNA_EMBEDDING ATAC_EMBEDDING TRAINING_JSON IMPUTATION_JSON
judge() {
  local d=$out/$1 row="$1"$'\t'"$2" key
  run evaluate pairs "$3" "$4" --seed "$1" --json "$d/pairs.json"
  for key in $columns; do row+=$'\t'$(value "$d/pairs.json" "$key"); done
  row+=$'\t'$([ -e "$5" ] && value "$5" holdout_discriminator_accuracy || true)
  for embedding in "$3" "$4"; do
    run evaluate cohort "$embedding" --on all --fold-key split --folds 3 --seed "$1" --json "$d/cohort.json"
    row+=$'\t'$(on_holdout "$d/cohort.json")
  done
  for key in spearman_per_sample_mean spearman_per_feature_mean mean_squared_error spearman_beyond_cohort_mean; do
    row+=$'\t'$([ -e "$6" ] && value "$6" "$key" || true)
  done
  printf '%s\n' "$row" >>"$out/table.tsv"
}

for seed in $seeds; do
  d=$out/$seed
  mkdir -p "$d"
  [ -e "$d/pairs.tsv" ] || {
    run simulate -o "$d" --donors "${DONORS:-600}" --genes "${GENES:-2000}" --peaks "${PEAKS:-20000}" --atac-fraction "${ATAC_FRACTION:-0.5}" --seed "$seed"
    run preprocess -o "$d/r.h5ad" "$d/rna.h5ad" --modality rna --batch-key batch
    run preprocess -o "$d/a.h5ad" "$d/atac.h5ad" --modality atac --batch-key batch
    run train rna -o "$d/rna_run" "$d/r.h5ad" --seed "$seed" --overwrite --set model.latent="$latent" --set model.hidden=512
    run train atac -o "$d/atac_run" "$d/a.h5ad" --seed "$seed" --overwrite --set hierarchical.latent="$latent"
    run embed -o "$d/rna_z.h5ad" "$d/rna_run" "$d/r.h5ad" --axes latent
    run embed -o "$d/atac_z.h5ad" "$d/atac_run" "$d/a.h5ad"
    run match -o "$d/pairs.tsv" --rna "$d/r.h5ad" --atac "$d/a.h5ad" --genes "$d/genes.tsv"
  }
  [ -e "$d/still/training.json" ] || run train coembed -o "$d/still" --mode adversarial --rna "$d/rna_run" --atac "$d/atac_run" "$d/r.h5ad" "$d/a.h5ad" \
    --seed "$seed" --overwrite --set train.learning_rate=0 --set train.discriminator_learning_rate=0.0001 --set loss.pair=0 --set loss.cycle=0 \
    --set train.max_epochs=60 --set train.min_epochs=60
  judge "$seed" 'separate VAEs' "$d/rna_z.h5ad" "$d/atac_z.h5ad" "$d/still/training.json" none
  run cca --rna-output "$d/cca_rna.h5ad" --atac-output "$d/cca_atac.h5ad" --pairs "$d/pairs.tsv" "$d/r.h5ad" "$d/a.h5ad"
  judge "$seed" 'CCA' "$d/cca_rna.h5ad" "$d/cca_atac.h5ad" none none
  for mode in adversarial contrastive; do
    for pair in 1 0; do
      name=$mode$pair
      [ -e "$d/$name/training.json" ] || run train coembed -o "$d/$name" --mode $mode --rna "$d/rna_run" --atac "$d/atac_run" --pairs "$d/pairs.tsv" "$d/r.h5ad" "$d/a.h5ad" \
        --seed "$seed" --overwrite --set loss.pair=$pair "$@"
      for modality in rna atac; do run embed -o "$d/${name}_$modality.h5ad" "$d/$name" "$d/${modality:0:1}.h5ad" --modality $modality; done
      run reconstruct -o "$d/imputed.h5ad" "$d/$name" "$d/a.h5ad" --to rna --against "$d/r.h5ad" --json "$d/imputed.json"
      judge "$seed" "$mode, $([ $pair = 1 ] && echo with pairs || echo to the letter)" "$d/${name}_rna.h5ad" "$d/${name}_atac.h5ad" \
        "$d/$name/training.json" "$d/imputed.json"
    done
  done
  row="$seed"$'\tmean of the cohort'
  for key in $columns discriminator rna_accuracy atac_accuracy; do row+=$'\t'; done
  for key in spearman_per_sample_mean spearman_per_feature_mean mean_squared_error; do row+=$'\t'$(value "$d/imputed.json" "cohort_mean_$key"); done
  printf '%s\t\n' "$row" >>"$out/table.tsv"
done
# Means over seeds, in the order of the models.
awk -F'\t' 'NR == 1 {head = $2; for (i = 3; i <= NF; i++) head = head "\t" $i; columns = NF; print head; next}
  {if (!($2 in seen)) {seen[$2] = ++models; name[models] = $2}
   for (i = 3; i <= columns; i++) if ($i != "") {n[$2, i]++; s[$2, i] += $i; q[$2, i] += $i * $i}}
  END {for (m = 1; m <= models; m++) {
         line = name[m]
         for (i = 3; i <= columns; i++) {
           k = n[name[m], i]
           if (k == 0) {line = line "\t"; continue}
           mean = s[name[m], i] / k; v = k > 1 ? (q[name[m], i] - k * mean * mean) / (k - 1) : 0
           line = line sprintf("\t%.3f +- %.3f", mean, sqrt(v < 0 ? 0 : v))
         }
         print line
       }}' "$out/table.tsv" | tee "$out/means.tsv"
