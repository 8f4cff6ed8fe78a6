#!/bin/sh
# Table 1 of Churchman 2015 (table 2 of Riemens 2015) for a corpus folder: which way of convolving
# names phones best, over several seeds.
#
#     sh examples/networks.sh CORPUS [RESULTS]
#
# RESULTS (networks/ by default) holds the models, accuracy.csv with the scores of every model, and
# table.csv with the mean and the spread over seeds of the class-balanced accuracy over the folded
# classes. A tenth of the training speakers is set apart to choose the epoch on; the test split is
# only scored. KEEP=docs/results keeps the scores there, as those of SPEECH (recorded or synthetic).
# QUICK=1 takes minutes: three networks, one seed, fewer items and epochs; NETWORKS,
# SEEDS and BUDGET name others. A run that was stopped goes on.
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-networks}
if [ "${QUICK:-0}" = 1 ]; then
    networks=${NETWORKS:-time freq freq-overlap}
    seeds=${SEEDS:-0}
    budget=${BUDGET:---epochs 3 --per-class 60}
else
    networks=${NETWORKS:-time freq-large freq freq-padded freq-overlap}
    seeds=${SEEDS:-0 1 2 3 4}
    budget=${BUDGET:-}
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/churchman.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
[ "${QUICK:-0}" = 1 ] || echo "estimate: of one core 4 minutes (time) to 2.6 hours (freq-padded) for five seeds of a network, 3.3 hours in all" >&2
# Exit code 4 says that some recordings were left out; their reasons have been printed.
[ -e "$results/corpus.zarr" ] ||
    $scope prepare "$corpus" --dev 0.1 -o "$results/corpus.zarr" || [ $? -eq 4 ]

set --
for seed in $seeds; do
    for network in $networks; do
        model=$results/$network-$seed.pt
        [ -e "$model" ] ||
            $scope train "$results/corpus.zarr" --network "$network" --seed "$seed" $budget \
                --resume -o "$model"
        set -- "$@" "$model"
    done
done
$scope score "$@" --csv > "$results/accuracy.csv"

# One line for each network, in the order of the paper's table.
awk -F, -v networks="$networks" '
    NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
    $column["measure"] == "class-balanced accuracy" {
        # The folded classes follow the others, so theirs is the value kept.
        score[$column["artifact"]] = 100 * $column["value"]
        network[$column["artifact"]] = $column["network"]
    }
    END {
        for (model in score) {
            name = network[model]; value = score[model]
            if (!n[name]++ || value < least[name]) least[name] = value
            if (n[name] == 1 || value > most[name]) most[name] = value
            mean[name] += value
        }
        for (name in n) mean[name] /= n[name]
        for (model in score) squares[network[model]] += (score[model] - mean[network[model]]) ^ 2
        print "network,runs,mean,standard deviation,least,most"
        count = split(networks, order, " ")
        for (i = 1; i <= count; i++) {
            name = order[i]
            printf "%s,%d,%.1f,", name, n[name], mean[name]
            if (n[name] > 1) printf "%.1f", sqrt(squares[name] / (n[name] - 1))
            printf ",%.1f,%.1f\n", least[name], most[name]
        }
    }' "$results/accuracy.csv" > "$results/table.csv"
cat "$results/table.csv"
keep "$@"
