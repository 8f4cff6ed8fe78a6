"""Riemens (2015): convolutional autoencoders."""

from speechscope.recipes.churchman2015 import CHURCHMAN_2015
from speechscope.recipes.names import (
    DECODER_WEIGHTS,
    ENCODER_WEIGHTS,
    INPUTS,
    NETWORKS,
    NORMALIZATIONS,
    OPTIMIZERS,
    PHONE_SETS,
    SAMPLINGS,
    STACKS,
    UNITS,
    UNPOOLINGS,
)
from speechscope.recipes.shared import NAVAI, NO_PENALTIES
from speechscope.recipes.values import Recipe, Value

RIEMENS_2015: Recipe = {
    "prepare": {
        **CHURCHMAN_2015["prepare"],
        "unit": Value("segment", "sec. 2.1: slices that hold a phone", UNITS),
        "phone_set": Value("timit-48", "sec. 2.1: 48 labels, scored as 39", PHONE_SETS),
        "max_length": Value("2554", "sec. 2.1: the longest 5 %; of one data set with Churchman's"),
        "samples": Value(2554, "sec. 2.1: zero-padded on both sides to the longest [samples]"),
        "window": Value(267, "sec. 2.2.2: 1/60 second, Hamming [samples]"),
        "overlap": Value(120, "sec. 2.2.2: 7.5 ms, which gives 16 frames [samples]"),
        "bins": Value(201, "sec. 2.2.2; table 1 has 101 and 301 too"),
        "features": Value("real", "sec. 2.3: simply the real parts", INPUTS),
        "deltas": Value(0, "sec. 2.3: tried, and left out"),
        "normalize": Value("none", "sec. 2.3: only the average is removed", NORMALIZATIONS),
        "drop_sa": Value(True, "sec. 2.1: each sentence is used once"),
    },
    "train": {
        **CHURCHMAN_2015["train"],
        "network": Value("freq-padded", "fig. 2", NETWORKS),
        "epochs": Value(30, "chosen: the paper gives none for classifiers; as in churchman2015"),
        "per_class": Value(500, "sec. 3.1"),
        "test_per_class": Value(200, "sec. 3.1"),
        "batch": Value(128, "chosen: appendix B.2 has 64 or 128 as examples"),
        "optimizer": Value("adagrad", "sec. 3.1", OPTIMIZERS),
        "lr": Value(0.01, "chosen: no rate is given for AdaGrad (sec. 3.1)"),
        "sampling": Value("resample", "sec. 3.1", SAMPLINGS),
        "augment": Value("none", "chosen: the paper does without"),
        "l2": Value(0.0, "chosen: the paper names none"),
        "dropout": Value(0.9, "fig. 2; where the network names no rate of its own"),
    },
    "decode-train": {
        "layer": Value("unit1,unit2,unit3,unit4", "sec. 5.2: one to four units"),
        "epochs": Value(50, "sec. 5.1: at most 50 (or until convergence)"),
        "together": Value(0, "sec. 4.3: none of the ways to train ends in fine-tuning"),
        "per_class": Value(500, "sec. 3.1"),
        "test_per_class": Value(20, "chosen: a mean needs no more than a tenth of sec. 3.1's"),
        "batch": Value(128, "chosen: Churchman 2015, sec. 3.3, who shares the training"),
        "lr": Value(0.3, "chosen on recorded speech: a share of the size of a layer's weights"),
        "lr_together": Value(0.02, "chosen: likewise; fine-tuning takes smaller steps"),
        "encoder": Value("random", "sec. 4.3: both parts from random weights", ENCODER_WEIGHTS),
        "decoder": Value("random", "sec. 4.3: both parts from random weights", DECODER_WEIGHTS),
        "unpool": Value("switch", "sec. 5.1", UNPOOLINGS),
        "stack": Value("none", 'sec. 4.3: "regular" training', STACKS),
        "relu": Value(True, "sec. 4.3, fig. 4"),
        **NO_PENALTIES,
    },
    "navai": NAVAI,
}
