"""The papers as data: every default of every command, with where it comes from.

A recipe is a table per command; a flag overrides one value. "Chosen" marks what a paper leaves
open, with the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from speechscope.errors import UsageProblem


@dataclass(frozen=True)
class Value:
    """One default.

    Parameters
    ----------
    value
        The default.
    source
        Paper and section, or "chosen: why".
    choices
        The values allowed, where they are names.
    """

    value: Any
    source: str
    choices: tuple[str, ...] = ()


Table = Mapping[str, Value]
Recipe = Mapping[str, Table]

DEFAULT = "churchman2015"
FEATURES = ("real", "magnitude", "sqrt-magnitude", "log-magnitude")
NORMALIZATIONS = ("none", "gain")
OPTIMIZERS = ("adagrad", "sgd", "adam")
SAMPLINGS = ("resample", "plain")
NETWORKS = (
    "time",
    "freq-large",
    "freq",
    "freq-padded",
    "freq-overlap",
    "freq-overlap-padded",
    "logmel",
    "raw-phone",
    "raw-speaker",
)

CHURCHMAN_2015: Recipe = {
    "prepare": {
        "rate": Value(16000, "TIMIT's sampling rate [Hz] (sec. 3)"),
        "max_length": Value("2554", "sec. 3.2: TIMIT's 95th percentile [samples]"),
        "samples": Value(2554, "sec. 3.2: segments are padded to this [samples]"),
        "window": Value(267, "sec. 3.2: 16.7 ms [samples]"),
        "overlap": Value(122, "sec. 3.2: 7.6 ms [samples]"),
        "bins": Value(201, "sec. 3.2: 400 sampling points give 201 bins"),
        "features": Value("real", "sec. 3.2, and Riemens 2015, sec. 2.3", FEATURES),
        "normalize": Value(
            "none", 'sec. 3.2: "spectrogram intensities were not normalized"', NORMALIZATIONS
        ),
        "drop_sa": Value(True, "sec. 3.1: SA sentences are removed"),
        "drop_labels": Value("q", "Lee & Hon 1989: the glottal stop is dropped"),
        "dev": Value(0.0, "sec. 3: training and test sets only"),
    },
    "train": {
        "network": Value("freq-overlap", "sec. 4.1, fig. 6", NETWORKS),
        "epochs": Value(30, "chosen: the paper gives none; the test accuracy has levelled by then"),
        "per_class": Value(500, "sec. 3.3"),
        "test_per_class": Value(200, "sec. 3.3"),
        "batch": Value(128, "sec. 3.3"),
        "optimizer": Value("adagrad", "sec. 5.2", OPTIMIZERS),
        "lr": Value(0.01, "chosen: no rate is given for AdaGrad (sec. 5.2)"),
        "momentum": Value(0.9, "chosen: usual; for sgd only"),
        "sampling": Value("resample", "sec. 3.3", SAMPLINGS),
        "label_smoothing": Value(0.0, "chosen: no paper has it"),
        "patience": Value(0, "chosen: a fixed number of epochs, as no paper stops early"),
        "augment": Value("none", "sec. 8.2 proposes it; the paper does without"),
        "l2": Value(0.0, "sec. 5.3: L2 did not improve the test accuracy"),
        "dropout": Value(0.5, "chosen: sec. 2.1.4 names no rate; that of Hinton et al. 2012"),
    },
    "decode-train": {
        "layer": Value("1,3,6,9,12", "sec. 7"),
        "epochs": Value(3, "chosen: a stage by itself has levelled by then"),
        "together": Value(6, "chosen: the error has levelled by then"),
        "per_class": Value(50, "chosen: the encoder is fixed, fewer items do"),
        "test_per_class": Value(20, "chosen: a mean needs no more"),
        "batch": Value(128, "sec. 3.3"),
        "lr": Value(0.1, "chosen: a share of the size of a stage's first weights"),
        "lr_together": Value(0.02, "chosen: likewise; fine-tuning takes smaller steps"),
        "init": Value(
            "transpose",
            "Riemens 2015, sec. 4.3 (Churchman leaves it open)",
            ("transpose", "random"),
        ),
    },
    "invert": {
        "layer": Value("1,3,6,9,12", "sec. 7"),
        "method": Value("decode+bp", "sec. 8: the best of the paper's methods"),
        "steps": Value(2000, "chosen"),
        "l2": Value(0.3, "chosen on recorded speech, docs/results.md; sec. 6.4.1 gives no value"),
        "rate": Value(1e-6, "sec. 6.4.2"),
        "up": Value(1.01, "sec. 6.4.2"),
        "down": Value(0.9, "sec. 6.4.2"),
        "stop": Value(0.005, "sec. 6.4.2"),
        "start": Value(1e-3, "chosen: a random start breaks symmetry (sec. 6.7)"),
        "per_class": Value(1, "sec. 7: one example from each class"),
    },
}

RECIPES: Mapping[str, Recipe] = {"churchman2015": CHURCHMAN_2015}

AUGMENT: Table = {
    "warp": Value(0.1, "chosen: vocal tracts differ by about as much"),
    "bins": Value(2.0, "chosen: 80 Hz"),
    "stretch": Value(0.2, "chosen: speaking rates"),
    "frames": Value(1.0, "chosen: the precision of time marks"),
    "gain": Value(0.3, "chosen: 3 dB"),
    "noise": Value(0.0, "chosen: it did not help"),
}
"""Amounts of ``train --augment all``, and of those that are named without an amount."""

# What no paper speaks of: sizes of the demonstration corpus.
SYNTH: Table = {
    "speakers": Value(40, "chosen: enough voices to hold a quarter of them out"),
    "sentences": Value(10, "TIMIT: 2 SA, 5 SX and 3 SI per speaker"),
    "language": Value("en-us", "TIMIT's language"),
    "sphere": Value(False, "chosen: RIFF is read everywhere; TIMIT itself is SPHERE"),
}


def table(recipe: str, section: str) -> Table:
    """Return the defaults of one command under one recipe.

    Raises
    ------
    UsageProblem
        There is no such recipe, or it has no settings for this command.
    """
    if section == "synth":
        return SYNTH
    if recipe not in RECIPES:
        raise UsageProblem(f"--recipe {recipe}: choose from {', '.join(RECIPES)}")
    if section not in RECIPES[recipe]:
        raise UsageProblem(f"--recipe {recipe} has no settings for {section}")
    return RECIPES[recipe][section]


def resolve(recipe: str, section: str, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's settings: the recipe's, with the flags that were given (not None).

    Raises
    ------
    UsageProblem
        See `table`; or a flag is not one of the values allowed.
    """
    defaults = table(recipe, section)
    settings = {name: default.value for name, default in defaults.items()}
    for name, value in flags.items():
        if value is None:
            continue
        allowed = defaults[name].choices
        if allowed and value not in allowed:
            option = "--" + name.replace("_", "-")
            raise UsageProblem(f"{option} {value}: choose from {', '.join(allowed)}")
        settings[name] = value
    return settings


def shown(key: str) -> str:
    """Return the default recipe's value for ``section.name`` as help text shows it."""
    section, name = key.split(".")
    value = table(DEFAULT, section)[name].value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
