#!/usr/bin/env bash
# The table "Splitting by sample" of docs/results.md: how much better a hold-out looks when replicates of its donors train. Simulated
# ATAC of few donors in each cohort, who differ from each other as much as cohorts do; with two replicates of a donor, and with one,
# where samples are donors and nothing can leak.
#   tools/leakage_demo.sh [OUT_DIR] [SEEDS] [extra options of 'panvae train atac' ...]
# MODELS="pca vae" chooses what is judged; SIMULATE holds options of 'panvae simulate'.
set -euo pipefail
out=${1:-leakage_demo}
seeds=${2:-"0 1 2 3 4 5 6 7 8 9"}
shift $(($# < 2 ? $# : 2))
panvae=${PANVAE:-$(dirname "$0")/../build/panvae}
models=${MODELS:-pca vae}
read -r -a simulate <<<"${SIMULATE:---donors 96 --cohorts 12 --genes 200 --peaks 4000 --atac-fraction 1 --cohort-effect 0.5}"
mkdir -p "$out"
run() { "$panvae" "$@" --quiet >/dev/null; }
value() { grep -o "\"$2\": [-0-9.e]*" "$1" | head -n 1 | sed 's/.*: //'; }
# The hold-out is fold 0, told by a classifier of all other samples.
first_fold() { tr -d ' \n' <"$1" | sed 's/.*"folds":\[\([^],]*\).*/\1/'; }
straddling() { grep -o '[0-9]* donors have samples in more than one fold' "$1" | head -n 1 | sed 's/ .*//'; }
printf 'replicates\tseed\tmodel\tsplit\tholdout\twhole_donors\tdonors_on_both_sides\n' | tee "$out/table.tsv"
for replicates in 2 1; do
  for seed in $seeds; do
    d=$out/r$replicates.$seed
    mkdir -p "$d"
    run simulate -o "$d/sim" "${simulate[@]}" --replicates "$replicates" --seed "$seed"
    # The simulator has split already, by donor: its column is left behind.
    run convert -o "$d/counts.tsv" "$d/sim/atac.h5ad" --write-obs "$d/all.tsv"
    awk -F'\t' -v OFS='\t' 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "split") at = i} {$at = NR == 1 ? "simulated_split" : $at; print}' "$d/all.tsv" >"$d/obs.tsv"
    for split in donor sample; do
      x=$d/$split
      run preprocess -o "$x.h5ad" "$d/counts.tsv" --obs "$d/obs.tsv" --modality atac --split "$split" --seed "$seed"
      for model in $models; do
        if [ "$model" = pca ]; then
          run pca -o "$x.$model.h5ad" "$x.h5ad"
        else
          run train atac -o "$x.run" "$x.h5ad" --seed "$seed" --overwrite "$@"
          run embed -o "$x.$model.h5ad" "$x.run" "$x.h5ad"
        fi
        run evaluate cohort "$x.$model.h5ad" --on all --fold-key split --folds 2 --seed "$seed" --json "$x.$model.holdout.json"
        run evaluate cohort "$x.$model.h5ad" --on all --seed "$seed" --json "$x.$model.folds.json"
        both=$(straddling "$x.$model.holdout.json" || true)
        printf '%s\t%s\t%s\t%s\t%.3f\t%.3f\t%s\n' "$replicates" "$seed" "$model" "$split" "$(first_fold "$x.$model.holdout.json")" \
          "$(value "$x.$model.folds.json" accuracy_mean)" "${both:-0}" | tee -a "$out/table.tsv"
      done
    done
    rm -rf "$d/sim" "$d"/*.h5ad "$d"/*.run "$d/counts.tsv"
  done
done
# Means over seeds; the gap with its standard error, seed by seed.
awk -F'\t' 'NR > 1 {
  k = $1 "\t" $3; if (!(k in seen)) {seen[k] = 1; order[++m] = k}
  h[k, $4] += $5; w[k, $4] += $6; both[k, $4] += $7; n[k, $4]++; at[k, $4, $2] = $5; whole[k, $4, $2] = $6; seeds[$2] = 1
}
function gap(k, which,   s, d, sum, squares, c, mean) {
  for (s in seeds) {d = which ? whole[k, "sample", s] - whole[k, "donor", s] : at[k, "sample", s] - at[k, "donor", s]; sum += d; squares += d * d; c++}
  mean = sum / c; return sprintf("%.3f +- %.3f", mean, c > 1 ? sqrt(((squares - c * mean * mean) / (c - 1)) / c) : 0)
}
END {
  print "\nreplicates\tmodel\tholdout, split by donor\tby sample\tgap\tfolds of whole donors, split by donor\tby sample\tgap\tdonors on both sides"
  for (i = 1; i <= m; i++) {
    k = order[i]
    printf "%s\t%.3f\t%.3f\t%s\t%.3f\t%.3f\t%s\t%.1f\n", k, h[k, "donor"] / n[k, "donor"], h[k, "sample"] / n[k, "sample"], gap(k, 0),
      w[k, "donor"] / n[k, "donor"], w[k, "sample"] / n[k, "sample"], gap(k, 1), both[k, "sample"] / n[k, "sample"]
  }
}' "$out/table.tsv" | tee "$out/summary.tsv"
