#!/bin/sh
# Muckenhirn 2019 for a corpus folder: what networks on raw waveforms listen to.
#
#     sh examples/muckenhirn2019.sh CORPUS [RESULTS]
#
# RESULTS (muckenhirn2019/ by default) then holds, for a network of phones and one of speakers,
#   phone.csv speaker.csv phone-shifts.csv   table 2: how often the relevance signal has a vowel's F0, F1 and F2
#                           (with the praat extra), and how faithful the methods are
#   heard-phone/ heard-speaker/   relevance signals to listen to
#   report.html             relevance signals, their spectra, the first layers' responses; figures/
#                           holds the signals and spectra
# QUICK=1 takes minutes on two cores; PREPARE, TRAIN and EXPLAIN replace the flags of these stages. A run
# that was stopped goes on. KEEP=docs/results keeps the scores there, as those of SPEECH (recorded or
# synthetic).
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-muckenhirn2019}
if [ "${QUICK:-0}" = 1 ]; then
    prepare=${PREPARE:---hop 1600}
    train=${TRAIN:---epochs 2 --per-class 30 --sampling resample}
    explain=${EXPLAIN:---per-class 1}
else
    prepare=${PREPARE:-}
    train=${TRAIN:-}
    explain=${EXPLAIN:---per-class 20}
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/muckenhirn.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
[ "${QUICK:-0}" = 1 ] || echo "estimate: of one core 4 minutes an epoch and 52 minutes of speech, for phones and for speakers" >&2
for target in phone speaker; do
    # Exit code 4 says that some recordings were left out; their reasons have been printed.
    [ -e "$results/$target.zarr" ] ||
        $scope prepare "$corpus" --recipe muckenhirn2019 --labels $target $prepare \
            -o "$results/$target.zarr" || [ $? -eq 4 ]
    [ -e "$results/$target.pt" ] ||
        $scope train "$results/$target.zarr" --recipe muckenhirn2019 $train --resume \
            -o "$results/$target.pt"
    # Sec. 3.1: guided backpropagation of the score before softmax; the gradient beside it.
    [ -e "$results/relevance-$target.zarr" ] ||
        $scope relevance "$results/$target.pt" --recipe muckenhirn2019 --target label \
            --method guided,gradient,lrp --rule epsilon $explain --wav "$results/heard-$target" \
            -o "$results/relevance-$target.zarr"
    $scope score "$results/relevance-$target.zarr" --csv > "$results/$target.csv"
done
# The same averaged over windows moved by 0 to 9 samples, in which the first layer's step is gone.
[ -e "$results/relevance-phone-shifts.zarr" ] ||
    $scope relevance "$results/phone.pt" --recipe muckenhirn2019 --target label --method guided \
        --shifts 10 $explain -o "$results/relevance-phone-shifts.zarr"
$scope score "$results/relevance-phone-shifts.zarr" --csv > "$results/phone-shifts.csv"
$scope report "$results/phone.pt" "$results/relevance-phone.zarr" "$results/speaker.pt" \
    "$results/relevance-speaker.zarr" -f -o "$results/report.html" || [ $? -eq 4 ]
$scope report "$results/relevance-phone.zarr" "$results/relevance-speaker.zarr" --format pdf \
    -f -o "$results/figures" || [ $? -eq 4 ]
cat "$results/phone.csv" "$results/speaker.csv"
keep "$results/phone.pt" "$results/relevance-phone.zarr" "$results/relevance-phone-shifts.zarr"
