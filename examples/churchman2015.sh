#!/bin/sh
# Churchman 2015 for a corpus folder: what each layer of a phone network still knows of its input.
#
#     sh examples/churchman2015.sh CORPUS [RESULTS]
#
# RESULTS (churchman2015/ by default) then holds
#   networks/table.csv   table 1: which way of convolving names phones best
#   figure9.csv          figure 9: errors and correlations by layer and method, speech and chirps
#   leak.csv             appendix A: what decoders restore without a code
#   figures/             figures 10, 11, B.1 and B.2 as PDF (with the plot extra)
#   report.html          all of it, with the sounds
# QUICK=1 takes minutes on two cores; TRAIN, DECODE and INVERT replace the flags of these stages. A
# run that was stopped goes on. KEEP=docs/results keeps the scores there, as those of SPEECH (recorded
# or synthetic).
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-churchman2015}
if [ "${QUICK:-0}" = 1 ]; then
    layers=1,6,12
    train=${TRAIN:---epochs 3 --per-class 60}
    decode=${DECODE:---epochs 1 --together 1 --per-class 15}
    invert=${INVERT:---steps 50 --rate 1e-3 --proposals 1000}
    chirps=8
else
    layers=1,3,6,9,12
    train=${TRAIN:-}
    decode=${DECODE:-}
    invert=${INVERT:-}
    chirps=48
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/churchman.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
# Table 1 (sec. 4): the networks over several seeds.
sh "$(dirname "$0")/networks.sh" "$corpus" "$results/networks"
data=$results/networks/corpus.zarr

# Sec. 6.5: the full-padded network, and a decoder for each layer, with either unpooling.
model=$results/model.pt
[ -e "$model" ] ||
    $scope train "$data" --network freq-overlap-padded $train --resume -o "$model"
for unpool in blind switch; do
    [ -e "$results/decoder-$unpool.pt" ] ||
        $scope decode-train "$model" --layer $layers --unpool $unpool $decode --resume \
            -o "$results/decoder-$unpool.pt"
done
# Appendix A: switches leak.
$scope score "$results/decoder-blind.pt" "$results/decoder-switch.pt" --csv > "$results/leak.csv"

# Sec. 7, fig. 9: one random test item of each class; and chirps.
[ -e "$results/speech.zarr" ] ||
    $scope invert "$results/decoder-blind.pt" --layer $layers \
        --method anneal,bp,decode,decode+bp --per-class 1 $invert --resume \
        -o "$results/speech.zarr"
[ -e "$results/chirps.zarr" ] ||
    $scope invert "$results/decoder-blind.pt" --layer $layers \
        --method anneal,bp,decode,decode+bp --input chirps --count $chirps $invert --resume \
        -o "$results/chirps.zarr"
$scope score "$results/speech.zarr" "$results/chirps.zarr" --csv > "$results/figure9.csv"

# Exit code 4 says that some figures were left out; why has been printed.
$scope report "$data" "$model" "$results/decoder-blind.pt" "$results/speech.zarr" \
    "$results/chirps.zarr" -f -o "$results/report.html" || [ $? -eq 4 ]
$scope report "$results/speech.zarr" --format pdf -f -o "$results/figures" || [ $? -eq 4 ]
cat "$results/figure9.csv"
keep "$results/speech.zarr" "$results/chirps.zarr" "$results"/decoder-*.pt
