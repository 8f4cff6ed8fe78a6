"""Muckenhirn et al. (2019): networks for raw waveforms."""

from speechscope.recipes.values import Recipe, Value

MUCKENHIRN_2019: Recipe = {
    "prepare": {
        "unit": Value("window", "sec. 4.1: the raw waveform"),
        "labels": Value("phone", "sec. 4.1; its other network takes --labels speaker"),
        "max_length": Value("none", "sec. 4.1: all phones"),
        "length": Value(4000, "sec. 4.1: 250 ms [samples]"),
        "window": Value(160, "chosen: with no overlap, one window every 10 ms [samples]"),
        "overlap": Value(0, "chosen: see window"),
        "bins": Value(2, "chosen: without a meaning for waveforms"),
        "features": Value("waveform", "sec. 2: the signal as it is"),
        "deltas": Value(0, "sec. 2: the signal as it is"),
        "normalize": Value("utterance", "chosen: the paper names none"),
        "context": Value(1, "sec. 4.1: the window is the context"),
    },
    "train": {
        "network": Value("raw-phone", "sec. 4.1, table 1; raw-speaker for its speakers"),
        "optimizer": Value("sgd", "chosen: sec. 4.1 refers to its [17], which trains so"),
        "momentum": Value(0.0, "chosen: the paper names none"),
        "sampling": Value("plain", "chosen: the paper speaks of no resampling"),
        "patience": Value(3, "chosen: sec. 4.1 tunes on a development set and gives no rule"),
        "dropout": Value(0.0, "chosen: the paper names none"),
    },
    "relevance": {
        "method": Value("guided", "sec. 3.1"),
    },
}
