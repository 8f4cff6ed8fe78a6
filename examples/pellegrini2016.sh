#!/bin/sh
# Pellegrini and Mousset 2016 for a corpus folder: do layers group frames by phone?
#
#     sh examples/pellegrini2016.sh CORPUS [RESULTS]
#
# RESULTS (pellegrini2016/ by default) then holds
#   clusters.csv         precision, recall and F by layer, reduction and algorithm, for the number of
#                        classes; probes of phonological features, similarity of layers
#   auto.csv             the same for the number of clusters that the two criteria choose
#   report.html          the tables, compositions, 3-D projections, and maps in the F1-F2 plane;
#                        figures/ holds them as PDF
# QUICK=1 takes minutes on two cores; PREPARE (such as "--phone-set sampa-fr" for French), TRAIN
# and CLUSTER replace the flags of these stages. A run that was stopped goes on.
# KEEP=docs/results keeps the scores there, as those of SPEECH (recorded or synthetic).
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-pellegrini2016}
prepare=${PREPARE:---phone-set timit-48}
if [ "${QUICK:-0}" = 1 ]; then
    train=${TRAIN:---epochs 3 --per-class 100 --sampling resample}
    cluster=${CLUSTER:---per-class 10 --layer input,pool1,pool2,relu5}
else
    train=${TRAIN:-}
    cluster=${CLUSTER:-}
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/pellegrini.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
[ "${QUICK:-0}" = 1 ] || echo "estimate: of one core 4 minutes an epoch and 52 minutes of speech" >&2
# Exit code 4 says that some recordings were left out; their reasons have been printed.
[ -e "$results/corpus.zarr" ] ||
    $scope prepare "$corpus" --recipe pellegrini2016 $prepare -o "$results/corpus.zarr" ||
    [ $? -eq 4 ]
[ -e "$results/model.pt" ] ||
    $scope train "$results/corpus.zarr" --recipe pellegrini2016 $train --resume \
        -o "$results/model.pt"
# Sec. 4: the imposed number of classes; then what the criteria choose.
[ -e "$results/clusters.zarr" ] ||
    $scope cluster "$results/model.pt" --recipe pellegrini2016 $cluster \
        --reduce none,pca,tsne --algorithm kmeans,spectral -o "$results/clusters.zarr"
[ -e "$results/auto.zarr" ] ||
    $scope cluster "$results/model.pt" --recipe pellegrini2016 $cluster --clusters auto \
        --reduce none --algorithm kmeans,spectral -o "$results/auto.zarr"
$scope score "$results/clusters.zarr" --csv > "$results/clusters.csv"
$scope score "$results/auto.zarr" --csv > "$results/auto.csv"
$scope report "$results/model.pt" "$results/clusters.zarr" "$results/auto.zarr" \
    -f -o "$results/report.html" || [ $? -eq 4 ]
$scope report "$results/clusters.zarr" --format pdf -f -o "$results/figures" || [ $? -eq 4 ]
cat "$results/clusters.csv" "$results/auto.csv"
keep "$results/model.pt" "$results/clusters.zarr" "$results/auto.zarr"
