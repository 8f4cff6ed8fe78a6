#!/bin/sh
# Table 5 of Riemens 2015 for a corpus folder: what the encoders of autoencoders are worth to a
# classifier, kept as they are ("fixed") or trained further ("pretrained").
#
#     sh examples/riemens2015-pretraining.sh CORPUS [RESULTS]
#
# It begins from the autoencoders of riemens2015-tables.sh in RESULTS, which runs first, with the
# same variables (NETWORK among them); rows without an autoencoder there are left out. CLASSIFY
# replaces the flags of these classifiers. The table is table5.csv; in the baseline from a random
# encoder, "pretrained" is the network trained as usual.
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-riemens2015}
if [ "${QUICK:-0}" = 1 ]; then
    network=${NETWORK:-freq-overlap-padded}
    classify=${CLASSIFY:---epochs 2 --per-class 40}
else
    network=${NETWORK:-freq-padded}
    classify=${CLASSIFY:---epochs 50}
fi
scope=${SPEECHSCOPE:-speechscope}
sh "$(dirname "$0")/riemens2015-tables.sh" "$corpus" "$results"

# table5 ROW TABLE4-ROW: classifiers from the deepest encoder of a row of table 4.
table5() {
    row=$1 from=$results/table4-$2.pt
    [ -e "$from" ] || return 0
    [ -e "$results/table5-$row-fixed.pt" ] ||
        $scope train "$results/corpus.zarr" --network "$network" $classify --from "$from" \
            --freeze-encoder --resume -o "$results/table5-$row-fixed.pt"
    [ -e "$results/table5-$row-pretrained.pt" ] ||
        $scope train "$results/corpus.zarr" --network "$network" $classify --from "$from" \
            --resume -o "$results/table5-$row-pretrained.pt"
}
table5 1 01 # baseline: a random encoder
table5 2 05 # regular training, switch unpooling
table5 3 07 # regular training, blind upsampling
table5 4 09 # strongly stacked, switch unpooling
table5 5 10 # weakly stacked, switch unpooling
table5 6 11 # weakly stacked, blind upsampling
$scope score "$results"/table5-*.pt --csv > "$results/table5.csv"
