"""Pellegrini and Mousset (2016): clusters of what phone networks hold."""

from speechscope.recipes.values import Recipe, Value

PELLEGRINI_2016: Recipe = {
    "prepare": {
        "unit": Value("frame", "sec. 2: frames with five neighbours on each side"),
        "labels": Value("phone", "sec. 2"),
        "phone_set": Value("sampa-fr", "sec. 4.2: 33 units for French"),
        "max_length": Value("none", "sec. 2: all phones"),
        "length": Value(320, "chosen: without a meaning for frames [samples]"),
        "window": Value(320, "sec. 2: 20 ms [samples]"),
        "overlap": Value(160, "sec. 2: frames are 10 ms apart [samples]"),
        "bins": Value(40, "sec. 2: 40 log filter banks"),
        "features": Value("log-mel", "sec. 2"),
        "deltas": Value(2, "sec. 2: static, delta and delta-delta"),
        "context": Value(11, "sec. 2: 11 consecutive frames"),
        "drop_sa": Value(False, "chosen: BREF has no such sentences"),
        "dev": Value(0.1, "sec. 2: 10 % to tune on"),
    },
    "train": {
        "network": Value("logmel", "sec. 2"),
        "epochs": Value(50, "chosen: the stopping rule ends most trainings before"),
        "optimizer": Value("sgd", "sec. 2: gradient descent with Nesterov momentum"),
        "sampling": Value("plain", "chosen: sec. 2 speaks of no resampling"),
        "patience": Value(3, "sec. 2: three epochs, there of the cost on the development part"),
        "dropout": Value(0.5, "sec. 2: with the dense hidden layers only"),
    },
}
