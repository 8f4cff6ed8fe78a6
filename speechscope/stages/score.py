"""``speechscope score``: the table of an artifact's scores."""

from typing import Annotated

import typer

from speechscope.stages import options, output


def command(
    artifacts: Annotated[
        list[str],
        typer.Argument(metavar="ARTIFACT…", help="Any artifacts; - reads one path."),
    ],
    corpus: options.CorpusPath = None,
    checkpoint: options.CheckpointPath = None,
    foreign: options.Foreign = None,
    weights: options.Weights = None,
    device: options.Device = "auto",
    as_json: options.Json = False,
    as_csv: options.Csv = False,
) -> None:
    """Print the scores of artifacts as a table.

    A corpus: what of its segments comes back from the transform, by frequency bins and by what is
    kept of the phase. A model: accuracy on the test split over the classes and the folded
    classes, or the letter error rate. A decoder: its error in the units of the spectrogram, beside
    that of silence. An inversion: Euclidean distance, mxcorr2 of spectrograms and mxcorr of
    waveforms by method and layer, beside the round trip of the representation itself and the
    threshold of the average waveform. Relevance: deletion, insertion, sensitivity-n, agreement
    between methods and with the same network of random weights. Clusters: precision, recall,
    F-measure and adjusted mutual information by layer, reduction and algorithm, purity in
    phonological features, linear probes, likeness of layers. Averages of aligned inputs: energy
    at the formants of vowels, bursts of plosives, width and strength of patterns, and what
    alignment changes, beside shuffled classes.

    Example: speechscope score inversion.zarr --csv
    """
    options.exclusive({"--json": as_json, "--csv": as_csv})

    from speechscope.errors import UsageProblem
    from speechscope.scores import tables
    from speechscope.scores.scorecards import scorecard

    theirs = None
    if foreign is not None:
        from speechscope.networks.subject import Foreign

        theirs = Foreign(foreign, weights)
    elif weights is not None:
        raise UsageProblem("--weights goes with --model package.module:factory")

    moved = {"corpus": corpus, "model": checkpoint, "decoder": checkpoint}
    paths = {kind: path for kind, path in moved.items() if path is not None}
    cards = [
        scorecard(options.input_path(value), device=device, moved=paths, foreign=theirs)
        for value in artifacts
    ]
    if as_json:
        output.data(tables.as_json([row for card in cards for row in card]))
        return
    text = tables.as_csv if as_csv else tables.as_text
    # Tables of different kinds have different columns: one after the other.
    groups: list[list[tables.Row]] = []
    for row in (row for card in cards for row in card):
        if groups and list(groups[-1][0]) == list(row):
            groups[-1].append(row)
        else:
            groups.append([row])
    shown = "\n".join(text(group) for group in groups)
    if not as_csv:
        shown = "\n".join(map(output.printable, shown.split("\n")))
    output.data(shown)
