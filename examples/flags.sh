#!/bin/sh
# What each flag that today's segment classifiers add is worth by itself, on top of the papers'
# setting: the same network and budget for every row, the epoch chosen on a tenth of the training
# speakers, the test split only scored.
#
#     sh examples/flags.sh CORPUS [RESULTS]
#
# RESULTS (flags/ by default) holds the corpora, the models and score.csv. BUDGET names other epochs
# and items, SEED another seed. A run that was stopped goes on.
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-flags}
budget=${BUDGET:---epochs 10 --per-class 150}
seed=${SEED:-0}
scope=${SPEECHSCOPE:-speechscope}
mkdir -p "$results"

# row NAME "FLAGS OF PREPARE" FLAGS OF TRAIN…: one model, of a corpus that rows may share.
row() {
    name=$1 prepared=$2
    shift 2
    stored=$results/corpus$(printf %s "$prepared" | tr -d ' ').zarr
    # Exit code 4 says that some recordings were left out; their reasons have been printed.
    [ -e "$stored" ] ||
        $scope prepare "$corpus" --dev 0.1 $prepared -o "$stored" || [ $? -eq 4 ]
    [ -e "$results/$name-$seed.pt" ] ||
        $scope train "$stored" $budget --seed "$seed" "$@" --resume -o "$results/$name-$seed.pt"
}
row paper "" # zeros around the segment, real part, no more
row duration "--duration"
row speech "--padding speech"
row gain "--normalize gain"
row warp "" --augment warp,bins
row stretch "" --augment stretch,frames
row noise "" --augment noise=0.1
row magnitude "--features sqrt-magnitude"
row log-mel "--features log-mel --bins 40" --network logmel
row all "--features log-mel --bins 40 --normalize band --padding speech --duration" --network logmel
$scope score "$results"/*-"$seed".pt --csv > "$results/score.csv"
