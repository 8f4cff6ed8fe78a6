#!/bin/sh
# Tables 3 and 4 of Riemens 2015 for a corpus folder: how well autoencoders restore their input.
#
#     sh examples/riemens2015-tables.sh CORPUS [RESULTS]
#
# The tables stand in RESULTS (riemens2015/ by default) as table3.csv and table4.csv: Euclidean
# errors of train and test, that of the zero spectrogram ("silence"), correlations, and the leak
# test. NETWORK names another network and UNITS how many units of it table 4 goes up to:
# NETWORK=freq-overlap-padded UNITS=3 has the same first three units as the default and takes a
# fraction of its time. ROWS names the rows, such as "table3-04 table4-05", FORWARD and BUDGET
# replace the flags of the classifier and of the autoencoders. QUICK=1 takes minutes: that network,
# two units, the rows that the findings of sec. 6 rest on, fewer items and epochs. A run that was
# stopped goes on. KEEP=docs/results keeps the scores there, as those of SPEECH (recorded or
# synthetic).
set -eu

corpus=${1:?"name a corpus folder"}
results=${2:-riemens2015}
if [ "${QUICK:-0}" = 1 ]; then
    network=${NETWORK:-freq-overlap-padded}
    most=${UNITS:-2}
    rows=${ROWS:-table3-02 table3-04 table3-06 table3-12 table4-01 table4-05 table4-07}
    forward=${FORWARD:---epochs 3 --per-class 60}
    budget=${BUDGET:---epochs 2 --per-class 15}
else
    network=${NETWORK:-freq-padded}
    most=${UNITS:-4}
    rows=${ROWS:-all}
    forward=${FORWARD:---epochs 50}
    budget=${BUDGET:-}
fi
scope=${SPEECHSCOPE:-speechscope}
keep() { # figures for docs/results.md, where KEEP names its folder
    [ -z "${KEEP:-}" ] ||
        python "$(dirname "$0")/../tools/keep_results.py" "$KEEP/riemens.csv" \
            --corpus "${SPEECH:-recorded}" "$@"
}

mkdir -p "$results"
[ "${QUICK:-0}" = 1 ] || echo "estimate: of one core an hour and a half for each trained row of table 3, five for one of table 4" >&2
# Exit code 4 says that some recordings were left out; their reasons have been printed.
[ -e "$results/corpus.zarr" ] ||
    $scope prepare "$corpus" -o "$results/corpus.zarr" || [ $? -eq 4 ]
[ -e "$results/model.pt" ] ||
    $scope train "$results/corpus.zarr" --network "$network" $forward --resume \
        -o "$results/model.pt"

# train_decoder NAME FLAGS…: one row of a table, if it is wanted.
train_decoder() {
    name=$1
    shift
    case " $rows " in
        " all " | *" $name "*) ;;
        *) return 0 ;;
    esac
    [ -e "$results/$name.pt" ] ||
        $scope decode-train "$results/model.pt" --recipe riemens2015 $budget "$@" \
            --resume -o "$results/$name.pt"
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
units=1
while [ "${units##*,}" -lt "$most" ]; do
    units=$units,$((${units##*,} + 1))
done
table4() {
    row=$1
    shift
    train_decoder "table4-$row" --units "$units" "$@"
}
frozen="--encoder frozen-random --decoder frozen-random"
table4 01 $frozen --unpool switch --relu # baselines: nothing trained
table4 02 $frozen --unpool switch --no-relu
table4 03 $frozen --unpool blind --relu
table4 04 $frozen --unpool blind --no-relu
table4 05 --unpool switch --relu # regular training
table4 06 --unpool switch --no-relu
table4 07 --unpool blind --relu
table4 08 --unpool blind --no-relu
table4 09 --unpool switch --stack strong # stacked
table4 10 --unpool switch --stack weak
table4 11 --unpool blind --stack weak
$scope score "$results"/table4-*.pt --csv > "$results/table4.csv"
keep "$results/corpus.zarr" "$results"/table[34]-*.pt
