#!/bin/sh
# Krug and Stober 2018 for a corpus folder with transcripts: what a letter network has learnt.
#
#     sh examples/krug2018.sh CORPUS [RESULTS]
#
# RESULTS (krug2018/ by default) then holds
#   model.csv            letter error rate, beside that of a constant answer
#   maximum.zarr         inputs that excite units of several layers most (sec. 3.2)
#   navai.csv            normalised averages by letter and alignment: bands, bursts, sharpness, and
#                        what shuffled letters give (sec. 3.5 to 4.3)
#   heard/               averages as sounds, where they can be heard
#   report.html          appendix A: the table of letters; the rest; figures/ holds the averages
# QUICK=1 takes minutes on two cores; TRAIN replaces the flags of the training, of which there is
# never enough without a GPU. A run that was stopped goes on. KEEP=docs/results keeps the scores there,
# as those of SPEECH (recorded or synthetic).
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-krug2018}
if [ "${QUICK:-0}" = 1 ]; then
    train=${TRAIN:---width 0.0625 --batch 4 --lr 3e-3 --schedule cosine --epochs 3}
    steps=50
else
    train=${TRAIN:---schedule cosine}
    steps=250
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/krug.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
[ "${QUICK:-0}" = 1 ] || echo "estimate: of one core 20 minutes an epoch and 52 minutes of speech; --width 0.125 is 64 times as fast" >&2
# Exit code 4 says that some recordings were left out; their reasons have been printed.
[ -e "$results/corpus.zarr" ] ||
    $scope prepare "$corpus" --recipe krug2018 -o "$results/corpus.zarr" || [ $? -eq 4 ]
[ -e "$results/model.pt" ] ||
    $scope train "$results/corpus.zarr" --recipe krug2018 $train --resume -o "$results/model.pt"
$scope score "$results/model.pt" --csv > "$results/model.csv"
[ -e "$results/maximum.zarr" ] ||
    $scope maximize "$results/model.pt" --recipe krug2018 --layer conv2 --unit 0,1,2,3 --steps $steps \
        -o "$results/maximum.zarr"
[ -e "$results/navai.zarr" ] ||
    $scope navai "$results/model.pt" --recipe krug2018 \
        --align none,min-sensitivity,max-sensitivity,max-lrp --wav "$results/heard" \
        -o "$results/navai.zarr"
$scope score "$results/navai.zarr" --csv > "$results/navai.csv"
$scope report "$results/model.pt" "$results/maximum.zarr" "$results/navai.zarr" \
    -f -o "$results/report.html" || [ $? -eq 4 ]
$scope report "$results/navai.zarr" --format pdf -f -o "$results/figures" || [ $? -eq 4 ]
cat "$results/model.csv" "$results/navai.csv"
keep "$results/model.pt" "$results/navai.zarr"
