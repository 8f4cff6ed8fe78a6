"""Tables that several papers share."""

from speechscope.recipes.names import (
    ALIGNMENTS,
    PADDINGS,
    PRECISIONS,
    RULES,
    SAMPLE_FRAMES,
    SPLITS,
    SPLITS_OF_CLASSES,
)
from speechscope.recipes.values import Table, Value

SPLIT = Value("auto", "chosen: what the folders say, else a quarter of the speakers to test on")

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

RELEVANCE: Table = {
    "method": Value("gradient,lrp", "Krug 2018, sec. 3.4: sensitivity and LRP"),
    "rule": Value("epsilon", "Bach et al. 2015, eq. 58, the rule Krug 2018 starts from", RULES),
    "epsilon": Value(1e-6, "chosen: small beside any activation; no result rests on it"),
    "gamma": Value(0.25, "Montavon et al. 2019, sec. 10.3.2"),
    "alpha": Value(2.0, "Bach et al. 2015, sec. Results; beta is alpha - 1"),
    "target": Value("predicted", "Krug 2018, sec. 3.4, and Muckenhirn 2019, sec. 3.1"),
    "steps": Value(50, "Sundararajan et al. 2017, sec. 5: 20 to 300 do"),
    "samples": Value(50, "Smilkov et al. 2017, sec. 3.2: no gain beyond"),
    "noise": Value(0.15, "Smilkov et al. 2017, sec. 3.2: 10 to 20 % of the range"),
    "shifts": Value(1, "chosen: off; the step of a waveform network's first layer evens it out"),
    "patch": Value("10x4", "chosen: 400 Hz by 36 ms of the default input [bins x frames]"),
    "stride": Value("5x2", "chosen: half a patch [bins x frames]"),
    "frame": Value(400, "Muckenhirn 2019, sec. 4.2.1: 25 ms [samples]"),
    "hop": Value(160, "chosen: the usual 10 ms [samples]"),
    "per_class": Value(1, "chosen: as for reconstructions"),
}

MAXIMIZE: Table = {
    "layer": Value("last", "Krug 2018, sec. 4.1: outputs, and units of lower layers"),
    "unit": Value("all", "chosen: one optimum for every class or map"),
    "steps": Value(250, "Krug 2018, sec. 3.2"),
    "lr": Value(0.05, "Krug 2018, sec. 3.2: Adam"),
    "l1": Value(0.001, "Krug 2018, sec. 3.2"),
    "l2": Value(0.001, "Krug 2018, sec. 3.2"),
    "tv": Value(0.0, "Krug 2018, sec. 2.2 names it and does without"),
}

NAVAI: Table = {
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
    "epsilon": RELEVANCE["epsilon"],
    "gamma": RELEVANCE["gamma"],
    "alpha": RELEVANCE["alpha"],
    "least": Value(5, "chosen: means of fewer inputs show single voices"),
    "layer": Value("all", "chosen: every layer"),
}

CLUSTER: Table = {
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
