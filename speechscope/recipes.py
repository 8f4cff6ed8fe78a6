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
OPTIMIZERS = ("adagrad", "sgd", "adam")
SAMPLINGS = ("resample", "plain")
DESCENTS = ("bold", "adagrad", "adam", "lbfgs")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed")
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
    "wav2letter",
)
FEATURES = (
    "real",
    "magnitude",
    "sqrt-magnitude",
    "log-magnitude",
    "magnitude-phase",
    "complex",
    "mel",
    "log-mel",
    "mfcc",
    "gammatone",
)
NORMALIZATIONS = ("none", "gain", "utterance", "band", "item")
UNITS = ("segment", "frame", "window", "utterance")
LABELS = ("phone", "letter", "speaker")
PHONE_SETS = ("timit-48", "timit-61", "timit-39", "arpabet", "sampa-fr", "ipa", "as-is")
LAYOUTS = ("timit", "textgrid", "librispeech", "lab", "manifest")

_INPUTS = (*FEATURES, "waveform")
_SPLIT = Value("auto", "chosen: what the folders say, else a quarter of the speakers to test on")

ENCODER_WEIGHTS = ("fixed", "init", "random", "frozen-random")
DECODER_WEIGHTS = ("random", "transpose-init", "transpose-tied", "frozen-random")
UNPOOLINGS = ("switch", "blind")
STACKS = ("decoder", "none", "weak", "strong")

PADDINGS = ("zeros", "speech")

ACCELERATION: Table = {
    "precision": Value("float32", "chosen: every device gives nearly the same", PRECISIONS),
    "compile": Value(False, "chosen: compiling takes a minute, and few trainings so long"),
}
"""What a CUDA device may do to train faster."""

AS_THEY_ARE: Table = {
    "padding": Value("zeros", "Churchman 2015, sec. 3.2: zeros on both sides", PADDINGS),
    "duration": Value(False, "chosen: no paper has it"),
}
"""What today's segment classifiers add, and the papers do without."""

METHODS = (
    "gradient",
    "gradient-x-input",
    "guided",
    "lrp",
    "integrated",
    "smoothgrad",
    "grad-cam",
    "occlusion",
)
RULES = (
    "epsilon",
    "gamma",
    "alpha-beta",
    "zplus",
    "krug",
    "epsilon-plus",
    "epsilon-gamma",
    "epsilon-alpha-beta",
)

_RELEVANCE: Table = {
    "method": Value("gradient,lrp", "Krug 2018, sec. 3.4: sensitivity and LRP"),
    "rule": Value("epsilon", "Bach et al. 2015, eq. 58, the rule Krug 2018 starts from", RULES),
    "epsilon": Value(1e-6, "chosen: small beside any activation; no result rests on it"),
    "gamma": Value(0.25, "Montavon et al. 2019, sec. 10.3.2"),
    "alpha": Value(2.0, "Bach et al. 2015, sec. Results; beta is alpha - 1"),
    "target": Value("predicted", "Krug 2018, sec. 3.4, and Muckenhirn 2019, sec. 3.1"),
    "steps": Value(50, "Sundararajan et al. 2017, sec. 5: 20 to 300 do"),
    "samples": Value(50, "Smilkov et al. 2017, sec. 3.2: no gain beyond"),
    "noise": Value(0.15, "Smilkov et al. 2017, sec. 3.2: 10 to 20 % of the range"),
    "patch": Value("10x4", "chosen: 400 Hz by 36 ms of the default input [bins x frames]"),
    "stride": Value("5x2", "chosen: half a patch [bins x frames]"),
    "frame": Value(400, "Muckenhirn 2019, sec. 4.2.1: 25 ms [samples]"),
    "hop": Value(160, "chosen: the usual 10 ms [samples]"),
    "per_class": Value(1, "chosen: as for reconstructions"),
}
_MAXIMIZE: Table = {
    "layer": Value("last", "Krug 2018, sec. 4.1: outputs, and units of lower layers"),
    "unit": Value("all", "chosen: one optimum for every class or map"),
    "steps": Value(250, "Krug 2018, sec. 3.2"),
    "lr": Value(0.05, "Krug 2018, sec. 3.2: Adam"),
    "l1": Value(0.001, "Krug 2018, sec. 3.2"),
    "l2": Value(0.001, "Krug 2018, sec. 3.2"),
    "tv": Value(0.0, "Krug 2018, sec. 2.2 names it and does without"),
}

ALIGNMENTS = ("none", "min-sensitivity", "max-sensitivity", "max-lrp")
SPLITS_OF_CLASSES = ("none", "phone", "speaker", "before", "after", "context")

_NAVAI: Table = {
    "mode": Value("inputs", "Krug 2018, sec. 3.5", ("inputs", "profile")),
    "align": Value(",".join(ALIGNMENTS), "Krug 2018, sec. 3.6 and fig. 3"),
    "by": Value("none", "Krug 2018, sec. 5, leaves splits for later", SPLITS_OF_CLASSES),
    "split": Value("train", "Krug 2018, sec. 3.5: the training data", ("train", "dev", "test")),
    "normalizer": Value(
        "inputs", "Krug 2018, sec. 3.5: the mean over frames of any letter", ("inputs", "classes")
    ),
    "exclude": Value(
        "apostrophe,space,twice,thrice,blank,h#,sil",
        "Krug 2018, sec. 3.3: a to z alone; of phones (chosen) silence, their blank",
    ),
    "rule": Value("krug", "Krug 2018, sec. 3.4, eq. 3 and 4", RULES),
    "epsilon": _RELEVANCE["epsilon"],
    "gamma": _RELEVANCE["gamma"],
    "alpha": _RELEVANCE["alpha"],
    "least": Value(5, "chosen: means of fewer inputs show single voices"),
    "layer": Value("all", "chosen: every layer"),
}

REDUCTIONS = ("none", "pca", "tsne")
ALGORITHMS = (
    "kmeans",
    "spectral",
    "kmeans-euclidean",
    "bisecting-kmeans",
    "agglomerative",
    "agglomerative-cosine",
    "gaussian-mixture",
)
SAMPLE_FRAMES = ("third", "middle", "mean")
SPLITS = ("train", "dev", "test")

_CLUSTER: Table = {
    "layer": Value("all", "Pellegrini 2016, sec. 4.1: the raw input and the layers"),
    "reduce": Value("none,pca,tsne", "Pellegrini 2016, sec. 3.1"),
    "algorithm": Value("kmeans,spectral", "Pellegrini 2016, sec. 3.2"),
    "clusters": Value("classes", "Pellegrini 2016, sec. 4.1: as many as phones; auto: sec. 4.2"),
    "most": Value("classes", "Pellegrini 2016, sec. 3.2: up to as many as phones"),
    "per_class": Value(100, "Pellegrini 2016, sec. 3"),
    "frame": Value(
        "third", "Pellegrini 2016, sec. 3; mean: sec. 5; segments are whole", SAMPLE_FRAMES
    ),
    "split": Value("test", "chosen: unseen speakers; Pellegrini 2016 has what it tuned on", SPLITS),
    "correct": Value(True, "Pellegrini 2016, sec. 3: correctly classified"),
    "probes": Value(True, "chosen: beyond the paper"),
}

NO_PENALTIES: Table = {
    name: Value(0.0, "Riemens 2015, sec. 8: proposed, not tried")
    for name in ("noise", "sparse", "contractive")
}

CHURCHMAN_2015: Recipe = {
    "prepare": {
        "unit": Value("segment", "sec. 3: phones are cut out", UNITS),
        "labels": Value("phone", "sec. 3.1", LABELS),
        "phone_set": Value("timit-48", "sec. 3.1: Lee & Hon 1989, scored as 39", PHONE_SETS),
        "split": _SPLIT,
        "rate": Value(16000, "TIMIT's sampling rate [Hz] (sec. 3)"),
        "max_length": Value("2554", "sec. 3.2: TIMIT's 95th percentile [samples]"),
        "samples": Value(2554, "sec. 3.2: segments are padded to this [samples]"),
        "window": Value(267, "sec. 3.2: 16.7 ms [samples]"),
        "overlap": Value(122, "sec. 3.2: 7.6 ms [samples]"),
        "bins": Value(201, "sec. 3.2: 400 sampling points give 201 bins"),
        "features": Value("real", "sec. 3.2, and Riemens 2015, sec. 2.3", _INPUTS),
        "deltas": Value(0, "sec. 3.2: the spectrogram alone"),
        **AS_THEY_ARE,
        "normalize": Value(
            "none", 'sec. 3.2: "spectrogram intensities were not normalized"', NORMALIZATIONS
        ),
        "context": Value(1, "sec. 3: a segment stands by itself"),
        "drop_sa": Value(True, "sec. 3.1: SA sentences are removed"),
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
        **ACCELERATION,
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
        "encoder": Value(
            "fixed", "sec. 6.5.4: only the decoder's weights are updated", ENCODER_WEIGHTS
        ),
        "decoder": Value(
            "transpose-init", "Riemens 2015, sec. 4.3 (Churchman leaves it open)", DECODER_WEIGHTS
        ),
        "unpool": Value("blind", "sec. 6.5.2: switches leak information", UNPOOLINGS),
        "stack": Value("decoder", "sec. 6.5.5", STACKS),
        "relu": Value(True, "Riemens 2015, sec. 4.3 (Churchman leaves it open)"),
        **NO_PENALTIES,
    },
    "invert": {
        "layer": Value("1,3,6,9,12", "sec. 7"),
        "method": Value("decode+bp", "sec. 8: the best of the paper's methods"),
        "l2": Value(0.3, "chosen on recorded speech, docs/results.md; sec. 6.4.1 gives no value"),
        "average": Value(1, "sec. 6.7 describes averages, sec. 7 reports single runs"),
        "noise": Value(0.1, 'chosen: "slight" (sec. 6.7), a tenth of the activations\' size'),
        "steps": Value(2000, "chosen"),
        "start": Value(1e-3, "chosen: a random start breaks symmetry (sec. 6.7)"),
        "optimizer": Value("bold", "sec. 6.4.2", DESCENTS),
        "rate": Value(1e-6, "sec. 6.4.2, of the bold driver"),
        "rate_adagrad": Value(0.02, "chosen: an entry's first step"),
        "rate_adam": Value(0.01, "chosen: an entry's first step"),
        "up": Value(1.01, "sec. 6.4.2"),
        "down": Value(0.9, "sec. 6.4.2"),
        "stop": Value(0.005, "sec. 6.4.2"),
        "proposals": Value(20000, "chosen: sec. 8 names a restricted number, without the number"),
        "chains": Value(1, "sec. 6.3: one"),
        "rows": Value(5, "chosen: 200 Hz; sec. 6.3.1 leaves n open"),
        "share": Value(0.5, "sec. 6.3.1"),
        "reach": Value(0.05, "sec. 6.3.1"),
        "temperature": Value(1e-4, "chosen: a share of E; sec. 6.3 asks for a high start"),
        "cooling": Value(1e-4, "chosen: sec. 6.3 asks for T near 0 at the end"),
        "align_items": Value(28000, "chosen: as many as the corpus of docs/results.md has"),
        "align_epochs": Value(4, "chosen: more items and passes still help, at their cost"),
        "align_batch": Value(128, "as in training, sec. 3.3"),
        "align_hidden": Value(512, "chosen on recorded speech"),
        "align_rate": Value(2e-3, "chosen on recorded speech: twice Adam's usual"),
        "align_dropout": Value(0.2, "chosen"),
        "align_lags": Value(1541, "chosen: 96 ms; segments lie in the middle, as mxcorr's do"),
        "count": Value(48, "sec. 7: as many as there are classes"),
        "block": Value(48, "chosen: the items of sec. 7; larger ones are no faster"),
        "per_class": Value(1, "sec. 7: one example from each class"),
    },
    "relevance": _RELEVANCE,
    "maximize": _MAXIMIZE,
    "navai": _NAVAI,
    "cluster": _CLUSTER,
}

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
        "features": Value("real", "sec. 2.3: simply the real parts", _INPUTS),
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
    "navai": _NAVAI,
}

KRUG_2018: Recipe = {
    "prepare": {
        "unit": Value("utterance", "sec. 3.1: whole-sequence recordings", UNITS),
        "labels": Value("letter", "sec. 3.1", LABELS),
        "phone_set": Value("as-is", "chosen: there are no phones in it", PHONE_SETS),
        "split": _SPLIT,
        "rate": Value(16000, "LibriSpeech's sampling rate [Hz] (sec. 3.1)"),
        "max_length": Value("none", "sec. 3.1: all of LibriSpeech"),
        "samples": Value(400, "chosen: without a meaning for utterances [samples]"),
        "window": Value(400, "chosen: the usual 25 ms; the paper gives none [samples]"),
        "overlap": Value(240, "chosen: the usual hop of 10 ms; the paper gives none [samples]"),
        "bins": Value(128, "sec. 3.1: 128 mel-frequency bins"),
        "features": Value(
            "log-mel", "chosen: sec. 3.1 names mel bins; power spans too many decades", _INPUTS
        ),
        "deltas": Value(0, "sec. 3.1: the spectrogram alone"),
        **AS_THEY_ARE,
        "normalize": Value("utterance", "sec. 3.1: z-normalized spectrograms", NORMALIZATIONS),
        "context": Value(1, "sec. 3.1: the network sees its 206 frames by itself"),
        "drop_sa": Value(False, "chosen: LibriSpeech has no such sentences"),
        "dev": Value(0.0, "chosen: LibriSpeech's folders say what is dev"),
    },
    "train": {
        "network": Value("wav2letter", "sec. 3.1", ("wav2letter",)),
        "width": Value(1.0, "sec. 3.1: 256 and 2048 maps"),
        "epochs": Value(100, "chosen: the paper gives none; of LibriSpeech's 960 h far fewer do"),
        "batch": Value(64, "the code Kunze et al. 2017 published, to whom sec. 3.1 refers"),
        "padding": Value(0.1, "chosen: the batches are still of many lengths"),
        "optimizer": Value("adam", "the code Kunze et al. 2017 published", ("adam",)),
        "lr": Value(1e-4, "the code Kunze et al. 2017 published: Adam"),
        "schedule": Value("constant", "chosen: no paper names another", SCHEDULES),
        "patience": Value(0, "chosen: a fixed number of epochs, as in churchman2015"),
        **ACCELERATION,
    },
    "relevance": {**_RELEVANCE, "rule": Value("krug", "sec. 3.4, eq. 3 and 4", RULES)},
    "maximize": _MAXIMIZE,
    "navai": _NAVAI,
    "cluster": _CLUSTER,
}

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
        "features": Value("waveform", "sec. 2: the signal as it is", _INPUTS),
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
    "relevance": {**_RELEVANCE, "method": Value("guided", "sec. 3.1")},
    "maximize": _MAXIMIZE,
    "navai": _NAVAI,
    "cluster": _CLUSTER,
}

PELLEGRINI_2016: Recipe = {
    "prepare": {
        "unit": Value("frame", "sec. 2: frames with five neighbours on each side", UNITS),
        "labels": Value("phone", "sec. 2", LABELS),
        "phone_set": Value("sampa-fr", "sec. 4.2: 33 units for French", PHONE_SETS),
        "split": _SPLIT,
        "rate": Value(16000, "chosen: BREF's sampling rate [Hz], which sec. 2 does not give"),
        "max_length": Value("none", "sec. 2: all phones"),
        "samples": Value(320, "chosen: without a meaning for frames [samples]"),
        "window": Value(320, "sec. 2: 20 ms [samples]"),
        "overlap": Value(160, "sec. 2: frames are 10 ms apart [samples]"),
        "bins": Value(40, "sec. 2: 40 log filter banks"),
        "features": Value("log-mel", "sec. 2", _INPUTS),
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
    "navai": _NAVAI,
    "cluster": _CLUSTER,
}

RECIPES: Mapping[str, Recipe] = {
    "churchman2015": CHURCHMAN_2015,
    "riemens2015": RIEMENS_2015,
    "krug2018": KRUG_2018,
    "muckenhirn2019": MUCKENHIRN_2019,
    "pellegrini2016": PELLEGRINI_2016,
}

FOR_SPEAKERS = {"raw-phone": "raw-speaker"}
"""The network a recipe has in place of its own where speakers are the classes (Muckenhirn 2019,
table 1)."""

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
        See `table`; or a flag is not one of the values allowed, or means nothing in the recipe.
    """
    defaults = table(recipe, section)
    settings = {name: default.value for name, default in defaults.items()}
    for name, value in flags.items():
        if value is None:
            continue
        option = "--" + name.replace("_", "-")
        if name not in defaults:
            raise UsageProblem(f"{option} has no meaning for {section} --recipe {recipe}")
        allowed = defaults[name].choices
        if allowed and value not in allowed:
            raise UsageProblem(f"{option} {value}: choose from {', '.join(allowed)}")
        settings[name] = value
    return settings


def shown(key: str, recipe: str = DEFAULT) -> str:
    """Return a recipe's value for ``section.name`` as help text shows it."""
    section, name = key.split(".")
    value = table(recipe, section)[name].value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
