#!/bin/sh
# Tables 3, 4 and 5 of Riemens 2015 for a corpus folder: how well autoencoders restore their input,
# and what their encoders are worth to a classifier.
#
#     sh examples/riemens2015-tables.sh CORPUS [RESULTS]
#
# Tables stand in RESULTS (riemens2015/ by default) as table3.csv, table4.csv and table5.csv, with
# the Euclidean error of train and test, that of the zero spectrogram ("silence"), and the leak
# test. QUICK=1 takes minutes and fewer items and epochs; NETWORK names another network; what is
# finished already is not made again.
set -eu

corpus=$1
results=${2:-riemens2015}
network=${NETWORK:-freq-padded}
most=${UNITS:-4}
if [ "${QUICK:-0}" = 1 ]; then
    forward="--epochs 3 --per-class 30"
    budget="--epochs 2 --per-class 20"
    classify="--epochs 3 --per-class 30"
else
    forward="--epochs 50"
    budget=""
    classify="--epochs 50"
fi
scope=${SPEECHSCOPE:-speechscope}

mkdir -p "$results"
[ -e "$results/corpus.zarr" ] || $scope prepare "$corpus" -o "$results/corpus.zarr"
[ -e "$results/model.pt" ] ||
    $scope train "$results/corpus.zarr" --network "$network" $forward -o "$results/model.pt"

# train_decoder NAME FLAGS…: one row of a table.
train_decoder() {
    name=$1
    shift
    [ -e "$results/$name.pt" ] ||
        $scope decode-train "$results/model.pt" --recipe riemens2015 $budget "$@" \
            -o "$results/$name.pt"
}

# Table 3, sec. 5.1: a convolution and its inverse (--layer 1), one unit, two units; switches.
table3() {
    row=$1 encoder=$2 decoder=$3
    train_decoder "table3-$row" --layer 1,unit1,unit2 --encoder "$encoder" --decoder "$decoder"
}
table3 01 frozen-random frozen-random  # baseline: nothing trained
table3 02 frozen-random transpose-tied # baseline: random encoder, its transpose
table3 03 fixed frozen-random          # baseline: trained encoder, random decoder
table3 04 fixed transpose-tied         # fixed trained encoder, decoder fixed to transpose
table3 05 fixed transpose-init         # fixed trained encoder, decoder initialised to transpose
table3 06 fixed random                 # fixed trained encoder, decoder initialised randomly
table3 07 init transpose-tied          # initialised to trained encoder, decoder fixed to transpose
table3 08 init transpose-init
table3 09 init random
table3 10 random transpose-tied        # encoder initialised randomly, decoder fixed to transpose
table3 11 frozen-random random         # encoder fixed and initialised randomly
table3 12 random random                # both initialised randomly and trained
$scope score "$results"/table3-*.pt --csv > "$results/table3.csv"

# Table 4, sec. 5.2: one to four units, from random weights.
units=$(seq -s, 1 "$most")
table4() {
    row=$1
    shift
    train_decoder "table4-$row" --units "$units" "$@"
}
frozen="--encoder frozen-random --decoder frozen-random"
table4 01 $frozen --unpool switch --relu
table4 02 $frozen --unpool switch --no-relu
table4 03 $frozen --unpool blind --relu
table4 04 $frozen --unpool blind --no-relu
table4 05 --unpool switch --relu
table4 06 --unpool switch --no-relu
table4 07 --unpool blind --relu
table4 08 --unpool blind --no-relu
table4 09 --unpool switch --stack strong
table4 10 --unpool switch --stack weak
table4 11 --unpool blind --stack weak
$scope score "$results"/table4-*.pt --csv > "$results/table4.csv"

# Table 5, sec. 5.3: classifiers from the encoders of table 4, kept or trained further.
table5() {
    row=$1 from=$2
    [ -e "$results/table5-$row-fixed.pt" ] ||
        $scope train "$results/corpus.zarr" --network "$network" $classify \
            --from "$results/$from.pt" --freeze-encoder -o "$results/table5-$row-fixed.pt"
    [ -e "$results/table5-$row-pretrained.pt" ] ||
        $scope train "$results/corpus.zarr" --network "$network" $classify \
            --from "$results/$from.pt" -o "$results/table5-$row-pretrained.pt"
}
table5 1 table4-01 # baseline: a random encoder
table5 2 table4-05 # regular training, switch unpooling
table5 3 table4-07 # regular training, blind upsampling
table5 4 table4-09 # strongly stacked, switch unpooling
table5 5 table4-10 # weakly stacked, switch unpooling
table5 6 table4-11 # weakly stacked, blind upsampling
$scope score "$results"/table5-*.pt --csv > "$results/table5.csv"
