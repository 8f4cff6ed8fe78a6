"""Draw what `speechscope score --json` says of inversions: correlation and intensity by layer.

    speechscope score phones.zarr chirps.zarr --json > scores.json
    python tools/plot_layers.py scores.json docs/inversion.png

Solid lines are items of a corpus, dashed ones other inputs; bars are 95 % intervals over items
(Churchman 2015, fig. 9).
"""

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

COLOURS = {
    "anneal": "tab:gray",
    "bp": "tab:orange",
    "decode": "tab:green",
    "decode+bp": "tab:blue",
    "align": "tab:red",
}


def draw(rows: list[dict[str, Any]], output: Path) -> None:
    """Write the picture of some rows of the score table."""
    sizes = [row for row in rows if row["measure"] == "size over the original's"]
    rows = [row for row in rows if row["measure"] == "waveform (mxcorr)"]
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(row["input"] for row in rows))
    for kind in kinds:
        style = "-" if kind == "corpus" else "--"
        word = "" if kind == "corpus" else f", {kind}"
        for method in dict.fromkeys(row["method"] for row in rows):
            some = [row for row in rows if (row["method"], row["input"]) == (method, kind)]
            if not some:
                continue
            some.sort(key=lambda row: row["layer"])
            layers = [row["layer"] for row in some]
            mean = [row["value"] for row in some]
            spans = [
                [row["value"] - row["low"] for row in some],
                [row["high"] - row["value"] for row in some],
            ]
            look = {"color": COLOURS.get(method), "linestyle": style, "marker": "."}
            left.errorbar(layers, mean, spans, label=method + word, capsize=2, **look)
            if kind == "corpus":
                size = {row["layer"]: row["value"] for row in sizes if row["method"] == method}
                right.plot(layers, [size[layer] for layer in layers], label=method, **look)
        chance = [row["chance"] for row in rows if row["input"] == kind]
        left.axhline(max(chance), color="black", linestyle=style, linewidth=0.7)
    left.set_ylabel("waveform mxcorr (black: chance)")
    right.set_ylabel("size of the reconstruction over the original's")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("layer")
        axes.set_xticks([1, 3, 6, 9, 12])
        axes.legend(fontsize=7)
    figure.savefig(output, dpi=110)


def main() -> None:
    """Read the options and draw."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("scores", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    draw([row for path in options.scores for row in json.loads(path.read_text())], options.output)


if __name__ == "__main__":
    main()
