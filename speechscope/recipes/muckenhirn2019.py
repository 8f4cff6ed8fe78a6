"""Muckenhirn et al. (2019): networks for raw waveforms."""

from speechscope.recipes.churchman2015 import CHURCHMAN_2015
from speechscope.recipes.names import (
    INPUTS,
    LABELS,
    NETWORKS,
    NORMALIZATIONS,
    OPTIMIZERS,
    PHONE_SETS,
    SAMPLINGS,
    UNITS,
)
from speechscope.recipes.shared import AS_THEY_ARE, CLUSTER, MAXIMIZE, NAVAI, RELEVANCE
from speechscope.recipes.values import Recipe, Value

MUCKENHIRN_2019: Recipe = {
    "prepare": {
        "unit": Value("window", "sec. 4.1: the raw waveform", UNITS),
        "labels": Value("phone", "sec. 4.1; its other network takes --labels speaker", LABELS),
        "phone_set": Value("timit-48", "chosen: sec. 4.1 names none; scored as 39", PHONE_SETS),
        # Of speakers, sec. 4.1: nine of a speaker's ten utterances train, one validates. It is the
        # test split (`recordings:0.1`), which training needs; recordings:test=0.1,dev=0.1 takes a
        # second one to choose the epoch on.
        "split": Value("auto", "chosen: the folders; with --labels speaker recordings:0.1"),
        "rate": Value(16000, "TIMIT's sampling rate [Hz] (sec. 4.1)"),
        "max_length": Value("none", "sec. 4.1: all phones"),
        "samples": Value(4000, "sec. 4.1: 250 ms [samples]"),
        "window": Value(160, "chosen: with no overlap, one window every 10 ms [samples]"),
        "overlap": Value(0, "chosen: see window"),
        "bins": Value(2, "chosen: without a meaning for waveforms"),
        "features": Value("waveform", "sec. 2: the signal as it is", INPUTS),
        "deltas": Value(0, "sec. 2: the signal as it is"),
        **AS_THEY_ARE,
        "normalize": Value("utterance", "chosen: the paper names none", NORMALIZATIONS),
        "context": Value(1, "sec. 4.1: the window is the context"),
        "drop_sa": Value(True, "chosen: as is usual for phones; --labels speaker keeps them"),
        "dev": Value(0.0, "chosen: --dev sets speakers apart"),
    },
    "train": {
        **CHURCHMAN_2015["train"],
        "network": Value("raw-phone", "sec. 4.1, table 1; raw-speaker for its speakers", NETWORKS),
        "epochs": Value(30, "chosen: the paper gives none"),
        "per_class": Value(500, "chosen: for --sampling resample alone"),
        "test_per_class": Value(200, "chosen: the sample whose accuracy is shown"),
        "batch": Value(128, "chosen: the paper gives none"),
        "optimizer": Value(
            "sgd", "chosen: sec. 4.1 refers to its [17], which trains so", OPTIMIZERS
        ),
        "lr": Value(0.01, "chosen: the paper gives none"),
        "momentum": Value(0.0, "chosen: the paper names none"),
        "sampling": Value("plain", "chosen: the paper speaks of no resampling", SAMPLINGS),
        "patience": Value(3, "chosen: sec. 4.1 tunes on a development set and gives no rule"),
        "augment": Value("none", "chosen: the paper does without"),
        "l2": Value(0.0, "chosen: the paper names none"),
        "dropout": Value(0.0, "chosen: the paper names none"),
    },
    "relevance": {**RELEVANCE, "method": Value("guided", "sec. 3.1")},
    "maximize": MAXIMIZE,
    "navai": NAVAI,
    "cluster": CLUSTER,
}
