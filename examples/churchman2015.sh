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
# run that was stopped goes on.
set -eu

corpus=$1
results=${2:-churchman2015}
if [ "${QUICK:-0}" = 1 ]; then
    train=${TRAIN:---epochs 6 --per-class 100}
    decode=${DECODE:---epochs 1 --together 1 --per-class 20}
    invert=${INVERT:---steps 100 --proposals 2000}
else
    train=${TRAIN:-}
    decode=${DECODE:-}
    invert=${INVERT:-}
fi
scope=${SPEECHSCOPE:-speechscope}
layers=1,3,6,9,12

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
        --method anneal,bp,decode,decode+bp --per-class 1 $invert -o "$results/speech.zarr"
[ -e "$results/chirps.zarr" ] ||
    $scope invert "$results/decoder-blind.pt" --layer $layers \
        --method anneal,bp,decode,decode+bp --input chirps --count 48 $invert \
        -o "$results/chirps.zarr"
$scope score "$results/speech.zarr" "$results/chirps.zarr" --csv > "$results/figure9.csv"

$scope report "$data" "$model" "$results/decoder-blind.pt" "$results/speech.zarr" \
    "$results/chirps.zarr" -f -o "$results/report.html"
$scope report "$results/speech.zarr" --format pdf -f -o "$results/figures"
cat "$results/figure9.csv"
