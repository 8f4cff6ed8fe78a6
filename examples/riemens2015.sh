#!/bin/sh
# Riemens 2015 for a corpus folder: convolutional autoencoders, and what they are worth to a
# classifier.
#
#     sh examples/riemens2015.sh CORPUS [RESULTS]
#
# RESULTS (riemens2015/ by default) then holds
#   table1.csv           round trips of the transform, by frequency bins and by the phase kept
#   networks/table.csv   table 2: the networks
#   table3.csv table4.csv   autoencoders; table5.csv: networks that begin from them
#   report.html          the autoencoders of table 4; figures/ holds them as PDF
# QUICK=1 takes minutes on two cores; the scripts that this one calls say what else can be set.
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-riemens2015}
scope=${SPEECHSCOPE:-speechscope}
here=$(dirname "$0")

mkdir -p "$results"
sh "$here/networks.sh" "$corpus" "$results/networks"
$scope score "$results/networks/corpus.zarr" --csv > "$results/table1.csv"
sh "$here/riemens2015-pretraining.sh" "$corpus" "$results"
# Exit code 4 says that some figures were left out; why has been printed.
$scope report "$results"/table4-*.pt -f -o "$results/report.html" || [ $? -eq 4 ]
$scope report "$results"/table4-*.pt --format pdf -f -o "$results/figures" || [ $? -eq 4 ]
cat "$results/table1.csv" "$results/table3.csv" "$results/table4.csv" "$results/table5.csv"
