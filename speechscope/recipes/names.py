"""The names that options may take, in one place for every recipe."""

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

INPUTS = (*FEATURES, "waveform")

ENCODER_WEIGHTS = ("fixed", "init", "random", "frozen-random")

DECODER_WEIGHTS = ("random", "transpose-init", "transpose-tied", "frozen-random")

UNPOOLINGS = ("switch", "blind")

STACKS = ("decoder", "none", "weak", "strong")

PADDINGS = ("zeros", "speech")

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

ALIGNMENTS = ("none", "min-sensitivity", "max-sensitivity", "max-lrp")

SPLITS_OF_CLASSES = ("none", "phone", "speaker", "before", "after", "context")

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
