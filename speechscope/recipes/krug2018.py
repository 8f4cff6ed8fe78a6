"""Krug and Stober (2018): introspection of a letter network."""

from speechscope.recipes.values import Recipe, Value

KRUG_2018: Recipe = {
    "prepare": {
        "unit": Value("utterance", "sec. 3.1: whole-sequence recordings"),
        "labels": Value("letter", "sec. 3.1"),
        "phone_set": Value("as-is", "chosen: there are no phones in it"),
        "max_length": Value("none", "sec. 3.1: all of LibriSpeech"),
        "length": Value(400, "chosen: without a meaning for utterances [samples]"),
        "window": Value(400, "chosen: the usual 25 ms; the paper gives none [samples]"),
        "overlap": Value(240, "chosen: the usual hop of 10 ms; the paper gives none [samples]"),
        "bins": Value(128, "sec. 3.1: 128 mel-frequency bins"),
        "features": Value(
            "log-mel", "chosen: sec. 3.1 names mel bins; power spans too many decades"
        ),
        "deltas": Value(0, "sec. 3.1: the spectrogram alone"),
        "normalize": Value("utterance", "sec. 3.1: z-normalized spectrograms"),
        "context": Value(1, "sec. 3.1: the network sees its 206 frames by itself"),
        "drop_sa": Value(False, "chosen: LibriSpeech has no such sentences"),
    },
    "train": {
        "network": Value("wav2letter", "sec. 3.1"),
        "width": Value(1.0, "sec. 3.1: 256 and 2048 maps"),
        "epochs": Value(100, "chosen: the paper gives none; of LibriSpeech's 960 h far fewer do"),
        "batch": Value(64, "the code Kunze et al. 2017 published, to whom sec. 3.1 refers"),
        "padding": Value(0.1, "chosen: the batches are still of many lengths"),
        "optimizer": Value("adam", "the code Kunze et al. 2017 published"),
        "lr": Value(0.0001, "the code Kunze et al. 2017 published: Adam"),
        "schedule": Value("constant", "chosen: no paper names another"),
    },
    "relevance": {
        "rule": Value("krug", "sec. 3.4, eq. 3 and 4"),
    },
}
