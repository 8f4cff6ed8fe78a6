"""Riemens (2015): convolutional autoencoders."""

from speechscope.recipes.values import Recipe, Value

RIEMENS_2015: Recipe = {
    "prepare": {
        "unit": Value("segment", "sec. 2.1: slices that hold a phone"),
        "phone_set": Value("timit-48", "sec. 2.1: 48 labels, scored as 39"),
        "max_length": Value("2554", "sec. 2.1: the longest 5 %; of one data set with Churchman's"),
        "length": Value(2554, "sec. 2.1: zero-padded on both sides to the longest [samples]"),
        "window": Value(267, "sec. 2.2.2: 1/60 second, Hamming [samples]"),
        "overlap": Value(120, "sec. 2.2.2: 7.5 ms, which gives 16 frames [samples]"),
        "bins": Value(201, "sec. 2.2.2; table 1 has 101 and 301 too"),
        "features": Value("real", "sec. 2.3: simply the real parts"),
        "deltas": Value(0, "sec. 2.3: tried, and left out"),
        "normalize": Value("none", "sec. 2.3: only the average is removed"),
        "drop_sa": Value(True, "sec. 2.1: each sentence is used once"),
    },
    "train": {
        "network": Value("freq-padded", "fig. 2"),
        "per_class": Value(500, "sec. 3.1"),
        "test_per_class": Value(200, "sec. 3.1"),
        "optimizer": Value("adagrad", "sec. 3.1"),
        "sampling": Value("resample", "sec. 3.1"),
        "dropout": Value(0.9, "fig. 2; where the network names no rate of its own"),
    },
    "decode-train": {
        "layer": Value("unit1,unit2,unit3,unit4", "sec. 5.2: one to four units"),
        "epochs": Value(50, "sec. 5.1: at most 50 (or until convergence)"),
        "together": Value(0, "sec. 4.3: none of the ways to train ends in fine-tuning"),
        "per_class": Value(500, "sec. 3.1"),
        "lr": Value(0.3, "chosen on recorded speech: a share of the size of a layer's weights"),
        "encoder": Value("random", "sec. 4.3: both parts from random weights"),
        "decoder": Value("random", "sec. 4.3: both parts from random weights"),
        "unpool": Value("switch", "sec. 5.1"),
        "stack": Value("none", 'sec. 4.3: "regular" training'),
        "relu": Value(True, "sec. 4.3, fig. 4"),
    },
}
