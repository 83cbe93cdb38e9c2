#!/usr/bin/env bash
# The table of real co-embedding in docs/results.md: RNA of 4,032 patients and ATAC scores of 401, who share 203. Five folds of the shared
# donors, each held out in both modalities in turn; three seeds, each with other folds, other validation donors and other weights.
# Rows: PCA and VAEs of each modality alone, canonical correlation analysis, and both co-embeddings with and without the pair term.
#   tools/coembed_data.sh DATA_DIR [OUT_DIR] [SEEDS] [FOLDS]
# DATA_DIR holds rna_log2_15cohorts and atac_pca200_23cohorts (.tsv.gz and _obs.tsv). What is done already is not done again.
# JOBS folds run side by side (2). SETTINGS below may be set from outside; they were chosen on validation donors of one fold.
set -euo pipefail
data=${1:?usage: tools/coembed_data.sh DATA_DIR [OUT_DIR] [SEEDS] [FOLDS]}
out=${2:-coembed_data}
seeds=${3:-"0 1 2"}
folds=${4:-"0 1 2 3 4"}
latent=${LATENT:-64}
vae="--set model.hidden=256 --set model.activation=${ACTIVATION:-linear} --set train.learning_rate=1e-3 --set train.patience=10"
read -r -a rna_vae <<<"${RNA_VAE:-$vae --set train.max_epochs=40}"
read -r -a atac_vae <<<"${ATAC_VAE:-$vae --set train.max_epochs=100 --set model.network=dense --set model.scale=none}"
read -r -a coembed <<<"${COEMBED:---set train.learning_rate=1e-3 --set train.patience=10}"
read -r -a classical <<<"${CLASSICAL:---pca 50 --components 10 --shrinkage 0 --power 0}"
read -r -a shrunk <<<"${SHRUNK:---pca 50 --components 10 --shrinkage 0.05 --power 2}"
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
rna=rna_log2_15cohorts
atac=atac_pca200_23cohorts
mkdir -p "$out"
run() { "$panvae" "$@" --quiet >/dev/null; }
value() { tr -d '\n' <"$1" | grep -o "\"$2\": *[-0-9.e]*" | head -n 1 | sed 's/.*: *//'; }
# The hold-out is fold 0, told by a classifier (a Cox model) of all other samples.
first_fold() { tr -d ' \n' <"$1" | sed 's/.*"folds":\[\([^],]*\).*/\1/'; }
first_harrell() { tr -d ' \n' <"$1" | sed 's/.*"folds":\[{\([^}]*\).*/\1/' | grep -o '"harrell":[-0-9.e]*' | sed 's/.*://'; }

# sample, split of both modalities: split_tables SEED FOLD FOLDER
# Shared donors, shuffled within each cohort, are dealt to five folds; of those that are left every sixth validates, of the donors
# of one modality alone every tenth.
split_tables() {
  awk -F'\t' -v OFS='\t' -v seed="$1" 'FNR == 1 {file++; next} {cohort[$2] = $3; in_file[file, $2] = 1}
    END {for (d in cohort) {
           h = 17
           for (i = 1; i <= length(d); i++) h = (h * (131 + 6 * seed) + index("-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", substr(d, i, 1))) % 999983
           print ((1, d) in in_file) && ((2, d) in in_file) ? "shared" : "alone", cohort[d], h, d}}' "$data/${rna}_obs.tsv" "$data/${atac}_obs.tsv" |
    LC_ALL=C sort -t"$(printf '\t')" -k1,1 -k2,2 -k3,3n -k4,4 |
    awk -F'\t' -v OFS='\t' -v fold="$2" '
      $1 == "shared" && n++ % 5 == fold {print $4, "holdout"; next}
      {print $4, ++rest[$1] % ($1 == "shared" ? 6 : 10) == 0 ? "validation" : "train"}' >"$3/split.tsv"
  for set in $rna $atac; do
    awk -F'\t' -v OFS='\t' 'NR == FNR {side[$1] = $2; next} {print $0, FNR == 1 ? "split" : side[$2]}' "$3/split.tsv" "$data/${set}_obs.tsv" >"$3/$set.obs.tsv"
  done
}

# judge FOLDER ROW RNA_EMBEDDING ATAC_EMBEDDING: lines of row, metric, value, held-out samples.
judge() {
  local d=$1 row=$2 r=$3 a=$4 j=$1/$2
  [ -e "$j.table" ] && return
  run evaluate pairs "$r" "$a" --on holdout --json "$j.pairs.json"
  run evaluate cohort "$a" --on all --fold-key split --json "$j.cohort.json"
  run evaluate survival "$a" --on all --fold-key split --json "$j.atac_survival.json"
  run evaluate survival "$r" --on all --fold-key split --json "$j.rna_survival.json"
  {
    for metric in foscttm foscttm_within_cohort recall_at_1 recall_at_5 mixing_entropy transfer_rna_to_atac transfer_atac_to_rna; do
      printf '%s\t%s\t%s\t%s\n' "$row" "$metric" "$(value "$j.pairs.json" "$metric")" "$(value "$j.pairs.json" n_pairs)"
    done
    printf '%s\tatac_accuracy\t%s\t%s\n' "$row" "$(first_fold "$j.cohort.json")" "$(value "$j.pairs.json" n_pairs)"
    for modality in atac rna; do
      printf '%s\t%s_c_index\t%s\t%s\n' "$row" "$modality" "$(first_harrell "$j.${modality}_survival.json")" "$(value "$j.pairs.json" n_pairs)"
    done
    if [ $# -gt 4 ]; then
      for metric in spearman_per_sample_mean spearman_beyond_cohort_mean r2_over_cohort_mean; do
        printf '%s\timputed_%s\t%s\t%s\n' "$row" "$metric" "$(value "$5" "$metric")" "$(value "$j.pairs.json" n_pairs)"
      done
    fi
  } >"$j.table.part"
  mv "$j.table.part" "$j.table"
}

# One fold of one seed.
fold() {
  local seed=$1 fold=$2 d=$out/$1.$2
  mkdir -p "$d"
  [ -e "$d/done" ] && return
  split_tables "$seed" "$fold" "$d"
  [ -e "$d/r.h5ad" ] || run preprocess -o "$d/r.h5ad" "$data/$rna.tsv.gz" --rows features --obs "$d/$rna.obs.tsv" --modality rna --input log
  # Scores keep their relative sizes, in units in which the first are of order 1: as z-scores the last ones, noise, would weigh as much.
  [ -e "$d/a.h5ad" ] || {
    gzip -dc "$data/$atac.tsv.gz" | awk -F'\t' -v OFS='\t' 'NR > 1 {for (i = 2; i <= NF; i++) $i /= 50} {print}' >"$d/atac.tsv"
    run convert -o "$d/a.h5ad" "$d/atac.tsv" --obs "$d/$atac.obs.tsv"
    rm "$d/atac.tsv"
  }
  for m in r a; do
    [ -e "$d/pca.$m.h5ad" ] || run pca -o "$d/pca.$m.h5ad" "$d/$m.h5ad" --components "$latent"
  done
  judge "$d" pca "$d/pca.r.h5ad" "$d/pca.a.h5ad"
  [ -e "$d/rna/model.safetensors" ] || run train rna -o "$d/rna" "$d/r.h5ad" --seed "$seed" --overwrite --set model.latent="$latent" "${rna_vae[@]}"
  [ -e "$d/atac/model.safetensors" ] ||
    run train atac -o "$d/atac" "$d/a.h5ad" --seed "$seed" --overwrite --set model.latent="$latent" "${atac_vae[@]}"
  for m in r a; do
    [ -e "$d/separate.$m.h5ad" ] || run embed -o "$d/separate.$m.h5ad" "$d/$([ $m = r ] && echo rna || echo atac)" "$d/$m.h5ad" --axes latent
  done
  judge "$d" separate "$d/separate.r.h5ad" "$d/separate.a.h5ad"
  for name in cca shrunk_cca; do
    local options=("${classical[@]}")
    [ $name = cca ] || options=("${shrunk[@]}")
    [ -e "$d/$name.a.h5ad" ] || run cca --rna-output "$d/$name.r.h5ad" --atac-output "$d/$name.a.h5ad" "$d/r.h5ad" "$d/a.h5ad" "${options[@]}" --json "$d/$name.json"
    judge "$d" $name "$d/$name.r.h5ad" "$d/$name.a.h5ad"
  done
  for mode in adversarial contrastive; do
    for pair in 1 0; do
      local name=$mode.$pair
      [ -e "$d/$name/model.safetensors" ] ||
        run train coembed -o "$d/$name" --mode "$mode" --rna "$d/rna" --atac "$d/atac" "$d/r.h5ad" "$d/a.h5ad" --seed "$seed" --overwrite "${coembed[@]}" \
          $([ $pair = 0 ] && echo --set loss.pair=0)
      [ -e "$d/$name.r.h5ad" ] || run embed -o "$d/$name.r.h5ad" "$d/$name" "$d/r.h5ad" --modality rna
      [ -e "$d/$name.a.h5ad" ] || run embed -o "$d/$name.a.h5ad" "$d/$name" "$d/a.h5ad" --modality atac
      [ -e "$d/$name.imputed.json" ] || {
        run reconstruct -o "$d/imputed.h5ad" "$d/$name" "$d/a.h5ad" --to rna --against "$d/r.h5ad" --json "$d/$name.imputed.json.part"
        rm "$d/imputed.h5ad"
        mv "$d/$name.imputed.json.part" "$d/$name.imputed.json"
      }
      judge "$d" "$name" "$d/$name.r.h5ad" "$d/$name.a.h5ad" "$d/$name.imputed.json"
    done
  done
  touch "$d/done"
}

failed=0
for seed in $seeds; do
  for fold in $folds; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do wait -n || failed=1; done
    fold "$seed" "$fold" &
  done
done
while [ "$(jobs -rp | wc -l)" -gt 0 ]; do wait -n || failed=1; done
[ $failed = 0 ] || { echo "a fold failed" >&2; exit 1; }

# Each seed: means of the folds, weighted by held-out donors. Then mean and standard deviation over seeds.
for seed in $seeds; do
  for fold in $folds; do
    for row in pca separate cca shrunk_cca adversarial.1 contrastive.1 adversarial.0 contrastive.0; do
      awk -v OFS='\t' -v s="$seed" -v f="$fold" '{print s, f, $0}' "$out/$seed.$fold/$row.table"
    done
  done
done >"$out/table.tsv"
awk -F'\t' -v json="$out/table.json" -v tsv="$out/means.tsv" '
  $5 != "" && $5 != "null" {k = $3 "\t" $4; sum[k, $1] += $6 * $5; n[k, $1] += $6; seeds[$1] = 1; keys[k] = 1
    if (!($3 in seen)) {seen[$3] = 1; row[++rows] = $3}
    if (!($4 in known)) {known[$4] = 1; metric[++metrics] = $4}}
  function cell(r, m) {return (r "\t" m) in mean ? sprintf("%.3f +- %.3f", mean[r "\t" m], sd[r "\t" m]) : ""}
  function table(columns, heads,   c, h, i, j, line, filled) {
    split(columns, c, " "); split(heads, h, "|"); line = "| |"
    for (j = 1; j in c; j++) line = line " " h[j] " |"
    print line; gsub(/[^|]+/, "---", line); print line
    for (i = 1; i <= rows; i++) {
      line = "| " label[row[i]] " |"; filled = 0
      for (j = 1; j in c; j++) {line = line " " cell(row[i], c[j]) " |"; filled += (row[i] "\t" c[j]) in mean}
      if (filled) print line
    }
    print ""
  }
  END {
    split("pca|PCA of each|separate|VAE of each|cca|CCA|shrunk_cca|CCA, shrunk|adversarial.1|adversarial, pairs|contrastive.1|contrastive, pairs|adversarial.0|adversarial, no pair term|contrastive.0|contrastive, no pair term", l, "|")
    for (i = 1; i in l; i += 2) label[l[i]] = l[i + 1]
    for (k in keys) {
      c = s = q = 0
      for (seed in seeds) if ((k, seed) in n) {v = sum[k, seed] / n[k, seed]; c++; s += v; q += v * v}
      mean[k] = s / c; v = c > 1 ? (q - s * s / c) / (c - 1) : 0; sd[k] = sqrt(v < 0 ? 0 : v)
    }
    table("foscttm foscttm_within_cohort recall_at_1 recall_at_5 mixing_entropy", "FOSCTTM|within the cohort|recall at 1|recall at 5|mixing entropy")
    table("transfer_rna_to_atac transfer_atac_to_rna atac_accuracy atac_c_index rna_c_index", "transfer RNA to ATAC|ATAC to RNA|ATAC cohort accuracy|C-index, ATAC|C-index, RNA")
    table("imputed_spearman_per_sample_mean imputed_spearman_beyond_cohort_mean imputed_r2_over_cohort_mean", "Spearman per sample|beyond the cohort mean|R2 over the cohort mean")
    printf "row\tmetric\tmean\tsd over seeds\n" >tsv
    printf "{" >json
    for (i = 1; i <= rows; i++) {
      printf "%s\n  \"%s\": {", (i > 1 ? "," : ""), row[i] >json
      c = 0
      for (j = 1; j <= metrics; j++) if ((k = row[i] "\t" metric[j]) in mean) {
        printf "%s\n    \"%s\": {\"mean\": %.6f, \"sd\": %.6f}", (c++ ? "," : ""), metric[j], mean[k], sd[k] >json
        printf "%s\t%.4f\t%.4f\n", k, mean[k], sd[k] >tsv
      }
      printf "\n  }" >json
    }
    printf "\n}\n" >json
  }' "$out/table.tsv" | tee "$out/table.md"
