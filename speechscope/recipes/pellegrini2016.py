"""Pellegrini and Mousset (2016): clusters of what phone networks hold."""

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
from speechscope.recipes.shared import AS_THEY_ARE, CLUSTER, NAVAI, SPLIT
from speechscope.recipes.values import Recipe, Value

PELLEGRINI_2016: Recipe = {
    "prepare": {
        "unit": Value("frame", "sec. 2: frames with five neighbours on each side", UNITS),
        "labels": Value("phone", "sec. 2", LABELS),
        "phone_set": Value("sampa-fr", "sec. 4.2: 33 units for French", PHONE_SETS),
        "split": SPLIT,
        "rate": Value(16000, "chosen: BREF's sampling rate [Hz], which sec. 2 does not give"),
        "max_length": Value("none", "sec. 2: all phones"),
        "samples": Value(320, "chosen: without a meaning for frames [samples]"),
        "window": Value(320, "sec. 2: 20 ms [samples]"),
        "overlap": Value(160, "sec. 2: frames are 10 ms apart [samples]"),
        "bins": Value(40, "sec. 2: 40 log filter banks"),
        "features": Value("log-mel", "sec. 2", INPUTS),
        "deltas": Value(2, "sec. 2: static, delta and delta-delta"),
        **AS_THEY_ARE,
        "normalize": Value("none", "chosen: the paper names none", NORMALIZATIONS),
        "context": Value(11, "sec. 2: 11 consecutive frames"),
        "drop_sa": Value(False, "chosen: BREF has no such sentences"),
        "dev": Value(0.1, "sec. 2: 10 % to tune on"),
    },
    "train": {
        **CHURCHMAN_2015["train"],
        "network": Value("logmel", "sec. 2", NETWORKS),
        "epochs": Value(50, "chosen: the stopping rule ends most trainings before"),
        "per_class": Value(500, "chosen: for --sampling resample alone"),
        "test_per_class": Value(200, "chosen: the sample whose accuracy is shown"),
        "batch": Value(128, "chosen: the paper gives none"),
        "optimizer": Value("sgd", "sec. 2: gradient descent with Nesterov momentum", OPTIMIZERS),
        "lr": Value(0.01, "chosen: the paper tunes it and does not give it"),
        "momentum": Value(0.9, "chosen: usual; sec. 2 gives none"),
        "sampling": Value("plain", "chosen: sec. 2 speaks of no resampling", SAMPLINGS),
        "patience": Value(3, "sec. 2: three epochs, there of the cost on the development part"),
        "augment": Value("none", "chosen: the paper does without"),
        "l2": Value(0.0, "chosen: the paper names none"),
        "dropout": Value(0.5, "sec. 2: with the dense hidden layers only"),
    },
    "navai": NAVAI,
    "cluster": CLUSTER,
}
