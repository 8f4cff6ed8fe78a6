"""The statements of the five papers, and how each is judged by the figures in docs/results/."""

from collections.abc import Sequence
from dataclasses import dataclass

from make_results import Above, Claim, Falls, Judged, Near, Of, Row, Statement, Untold, Within

S = Statement
LAYERS = (1, 3, 6, 9, 12)
METHODS = ("anneal", "bp", "decode", "decode+bp")
SWITCH, BLIND = "table4-05", "table4-07"


@dataclass(frozen=True)
class French:
    """A claim of the French recordings, shown among recorded speech."""

    claim: Claim

    def judge(self, rows: Sequence[Row], corpus: str) -> Judged | None:
        """See `Claim`."""
        found = self.claim.judge(rows, "French") if corpus == "recorded" else None
        return None if found is None else (f"French: {found[0]}", *found[1:])


def network(name: str) -> Of:
    """Return a network's class-balanced accuracy over 39 classes."""
    subject = f"network={name}; classes=39"
    return Of("networks|(time|freq).*-[0-9]+", "class-balanced accuracy", subject, ceiling=1.0)


def wave(method: str, layer: int | None, of: str = "phones|anneal|speech") -> Of:
    """Return the waveform correlation of reconstructions."""
    subject = f"method={method}" + ("" if layer is None else f"; layer={layer}")
    return Of(of, "waveform (mxcorr)", subject, ceiling=1.0)


THRESHOLD = wave("average", None)


def size(method: str, layer: int) -> Of:
    """Return the size of reconstructions over that of the originals."""
    return Of("phones|anneal|speech", "size over the original's", f"method={method}; layer={layer}")


def error(row: str, layer: int, measure: str = "test") -> Of:
    """Return an autoencoder's error over that of the zero spectrogram; layers 1, 3, 6, 9.

    By chance, what zeros get.
    """
    if "correlation" in measure:
        return Of(row, measure, f"layer={layer}", chance=0.0, ceiling=1.0)
    return Of(row, measure, f"layer={layer}", "silence", chance=1.0, ceiling=0.0)


def table5(encoder: str, kept: bool) -> Of:
    """Return the error of a classifier that begins from an autoencoder's encoder."""
    return Of("table5", "error", f"encoder={encoder}; kept={kept}", ceiling=0.0)


def round_trip(bins: int, kept: str) -> Of:
    """Return what comes back from the transform."""
    return Of("(synth|rec)-seg|corpus", "mxcorr", f"bins={bins}; kept={kept}", ceiling=1.0)


def letters(alignment: str, measure: str) -> Of:
    """Return a measure of letters' patterns."""
    return Of("navai(-letters)?", measure, f"alignment={alignment}")


def phones(alignment: str, measure: str) -> Of:
    """Return a measure of phones' patterns."""
    return Of("navai-phones", measure, f"alignment={alignment}")


def vowels(measure: str, method: str = "guided") -> Of:
    """Return a share of windows in the middle of vowels, relevance averaged over ten shifts."""
    return Of("relraw-shift-.*|relevance-phone-shifts", measure, f"method={method}", ceiling=1.0)


def f_measure(layer: str, reduction: str, algorithm: str) -> Of:
    """Return the F-measure of clusters."""
    subject = f"layer={layer}; reduction={reduction}; algorithm={algorithm}"
    return Of("clusters(-synth)?", "f_measure", subject, ceiling=1.0)


DELTAS = tuple(
    Of(f"deltas-{name}", "class-balanced accuracy", "classes=39", ceiling=1.0)
    for name in ("two", "none")
)


def chosen(algorithm: str, criterion: str) -> Of:
    """Return the number of clusters that a criterion likes best."""
    return Of("criteria-.*", "clusters", f"algorithm={algorithm}; criterion={criterion}")


CHURCHMAN = (
    S("table 1", "frequency convolution names phones better than time convolution",
      "59.1, 56.4, 62.6 against 48.7 %",
      Falls((network("time"), network("freq-large"), network("freq")), "%", rises=True,
            strictly=False)),
    S("table 1", "small kernels are better than large ones", "59.1 against 56.4 %",
      Above((network("freq"), network("freq-large")), "%"),
      "the spread over five seeds is as large as the difference"),
    S("table 1", "overlapping pools and three convolutions are best", "62.6 against 59.1 %",
      Above((network("freq-overlap"), network("freq")), "%"),
      "with 10 epochs of 150 a class; the deeper network learns later"),
    S("table 1", "full padding is second", "61.8 %", Above((network("freq-padded"),
      network("freq")), "%"), "`NETWORKS=freq-padded sh examples/networks.sh CORPUS`"),
    S("sec. 4", "derivatives (Δ, ΔΔ) add nothing", "no difference", Near(DELTAS, 0.03, "%"),
      "with and without; `speechscope prepare CORPUS --deltas 2`, `train`, 10 epochs of 150"),
    S("sec. 4", "the accuracy of the network used, after all epochs", "62.6 % (TIMIT)",
      Within(Of("recipe", "class-balanced accuracy", ceiling=1.0), least=0.6, scale="%"),
      "recorded: a fifth of TIMIT's speech, machine labels"),
    S("sec. 8.2", "it overfits: training above test accuracy", "80 against 60 %",
      Above(tuple(Of("recipe", measure, ceiling=1.0)
                  for measure in ("training accuracy", "class-balanced accuracy")), "%"),
      "synthetic training accuracy was not kept"),
    S("sec. 3.2", "what the real part of 400 points gives back correlates with its wave by some",
      "0.7", Within(round_trip(201, "real part"), least=0.7),
      "0.93 and 0.94 here: the window sequence inverts better than theirs did"),
    S("sec. 3.2", "twice the points give nearly all of it back", "0.99",
      Within(round_trip(301, "real part"), least=0.98), "301 bins are enough"),
    *(S("fig. 9", f"`{method}`: layer 1 is reconstructed better than all later ones", "by eye",
        Above(tuple(wave(method, layer) for layer in LAYERS))) for method in METHODS),
    *(S("7.1.1", f"`{method}`: waveform correlation falls with depth", "fig. 9",
        Falls(tuple(wave(method, layer) for layer in LAYERS)), why)
      for method, why in zip(METHODS, (
          "at chance from layer 1 on", "it falls down to layer 6, where it is near chance",
          "level from layer 6 to 9", "recorded: it falls down to layer 6; synthetic: to 3",
      ), strict=True)),
    *(S("7.1.1", f"`{method}`: layer 12 only slightly worse than layer 9", "fig. 9",
        Near((wave(method, 9), wave(method, 12)), 0.05), why)
      for method, why in (("bp", "a first rate of 3e-2 is too high there; with 1e-3 0.089"),
                          ("decode", ""), ("decode+bp", "the same; with 1e-3 0.122"))),
    S("7.1.1", "the average wave's correlation with phones, the threshold", "0.12",
      Within(THRESHOLD, most=0.14), "chance is higher: what has seen no item but knows speech"),
    *(S("7.1.1", f"`{method}`: above the threshold for phones, layer {layer}", "yes",
        Above((wave(method, layer), THRESHOLD)), why)
      for method in ("bp", "decode+bp") for layer, why in ((9, ""), (12, ""))),
    S("7.1.1", "`decode` drops below the threshold at layer 6", "yes",
      Above((THRESHOLD, wave("decode", 6)))),
    S("7.1.1", "`anneal` drops below it at layer 3", "yes", Above((THRESHOLD, wave("anneal", 3))),
      "1,000 proposals; it is below chance, if not below this threshold"),
    *(S("7.1.1", f"chirps, `{method}`: below the threshold from layer 3 on", "yes",
        Above((THRESHOLD, wave(method, 3, "chirps"))), why)
      for method, why in (("anneal", "`invert --input chirps --method anneal`"), ("bp", ""),
                          ("decode", ""))),
    S("7.1.1", "chirps, `decode+bp`: above it up to layer 9", "yes",
      Above((wave("decode+bp", 9, "chirps"), THRESHOLD))),
    S("7.1.1", "chirps, `decode+bp`: below it at layer 12", "yes",
      Above((THRESHOLD, wave("decode+bp", 12, "chirps")))),
    *(S("7.1.1", f"phones better than chirps: `{method}`, layer {layer}", "fig. 9",
        Above((wave(method, layer), wave(method, layer, "chirps"))), why)
      for method, layer, why in (
          ("bp", 1, "both reach their round trips"), ("bp", 3, ""),
          ("decode", 3, "but chirps' average wave is lower by as much (0.046)"), ("decode", 6, ""),
          ("decode+bp", 3, ""), ("decode+bp", 6, ""), ("decode+bp", 9, ""))),
    *(S("fig. 10", f"`{method}`: intensities are greatly reduced from layer 3 on", "by eye",
        Falls((size(method, 1), size(method, 6))), why)
      for method, why in (("bp", "0.71 at layer 6, 0.26 at 9"), ("decode", "0.16 at layer 12"),
                          ("decode+bp", "0.73 at layer 6, 0.29 at 9"))),
    *(S("7.1.2", f"`decode+bp` is best, layer {layer}", "yes",
        Above(tuple(wave(method, layer) for method in ("decode+bp", "bp", "decode", "anneal"))),
        why) for layer, why in ((1, "as good as `bp`"), (3, ""), (6, "level with `decode`"),
                                (9, "`decode` alone is above"), (12, "`decode` alone is above"))),
    *(S("7.1.2", f"annealing is worst, layer {layer}", "yes",
        Falls((wave("anneal", layer), wave("bp", layer)), rises=True), why)
      for layer, why in ((1, ""), (3, ""), (6, ""), (9, "level with `bp`"),
                         (12, "`bp` went wrong there"))),
    S("sec. 8", "layer 1 near perfect by `decode` and `decode+bp`: of the round trip", "nearly 1",
      Near((wave("round-trip", None), wave("decode", 1), wave("decode+bp", 1)), 0.05)),
    S("sec. 8", "`bp` does not get there at layer 1", "yes",
      Falls((wave("round-trip", None), wave("bp", 1))),
      "here it does: 100 steps from a rate of 3e-2"),
    S("sec. 8", "deep layers smear over time: the duration is lost", "by eye",
      Within(Of("phones", "duration", "method=decode+bp; layer=9"), most=0.1),
      "rank correlation with the original's duration"),
    S("sec. 6.7", "averaging reconstructions lowers the error", "yes", Above((
      Of("averaged", "waveform (mxcorr)", "method=bp"), wave("bp", 6))),
      "`speechscope invert --method bp --average 5`"),
    S("app. A", "switch unpooling restores an input whose code is zero", "fig. A.1",
      Within(error(SWITCH, 6, "zeroed_correlation"), least=0.3), "two units; correlation"),
    S("app. A", "blind unpooling does not", "fig. A.1",
      Within(error(BLIND, 6, "zeroed_correlation"), most=0.05)),
)  # fmt: skip

RIEMENS = (
    S("table 1", "phase kept: more bins give more back", "0.67, 0.92",
      Falls((round_trip(101, "phase kept"), round_trip(201, "phase kept")), rises=True)),
    S("table 1", "101 bins, phase kept", "0.67", Within(round_trip(101, "phase kept"), least=0.6),
      "overlapping windows make up for few bins here"),
    S("table 1", "201 bins, phase kept", "0.92", Within(round_trip(201, "phase kept"), least=0.9)),
    S("table 1", "101 bins, phase dropped", "0.36",
      Within(round_trip(101, "phase dropped"), least=0.2, most=0.5)),
    S("table 1", "201 bins, phase dropped, are nearly as good as with phase", "0.91 against 0.92",
      Near((round_trip(201, "phase kept"), round_trip(201, "phase dropped")), 0.05),
      "a modulus does not determine a wave; 0.91 is what the real part gives"),
    S("table 1", "201 bins, real part", "0.91", Within(round_trip(201, "real part"), least=0.88),
      "if table 1's “discarded” is the real part, this row and the next two hold"),
    S("table 1", "301 bins, phase discarded", "0.98",
      Within(round_trip(301, "real part"), least=0.96), "real part; modulus 0.29"),
    S("2.3", "the real part costs a few points of accuracy against the modulus", "a few",
      Above((Of("features", "class-balanced accuracy", "features=sqrt-magnitude", ceiling=1.0),
             Of("features", "class-balanced accuracy", "features=real", ceiling=1.0)), "%"),
      "ten points here"),
    S("2.3", "derivatives add nothing", "no", Near(DELTAS, 0.03, "%"), "with and without"),
    S("2.2.1", "networks on STFT do better than on mel-frequency cepstra", "yes", Above((
      Of("features", "class-balanced accuracy", "features=real", ceiling=1.0),
      Of("features", "class-balanced accuracy", "features=mfcc", ceiling=1.0)), "%"),
      "`sh examples/flags.sh` with `--features mfcc`; log-mel bands are better: 34.3 %"),
    S("table 2", "time convolution is worst", "48.7 %",
      Falls((network("time"), network("freq-large")), "%", rises=True)),
    S("table 3", "the trained encoder with its fixed transpose: far beyond silence, convolution",
      "107 (34.5 × silence)", Within(error("table3-04", 1), least=3.0)),
    S("table 3", "trained encoder, its fixed transpose: one unit", "27.1 (8.7 ×)",
      Within(error("table3-04", 3), least=2.0)),
    S("table 3", "trained encoder, its fixed transpose: two units, even worse", "400 (129 ×)",
      Above((error("table3-04", 6), error("table3-04", 3))), "as large as with one unit"),
    S("6.1", "yet its picture resembles the input: correlation", "by eye (fig. 5)",
      Within(error("table3-04", 1, "correlation"), least=0.7)),
    S("6.1", "its picture resembles the input, one unit", "by eye",
      Within(error("table3-04", 3, "correlation"), least=0.7)),
    S("table 3", "a random encoder with its transpose is worse than with a random decoder",
      "28.7 against 8.81", Above((error("table3-02", 1), error("table3-01", 1)))),
    S("table 3", "training the encoder alone mends it", "3.75 of 107",
      Falls((error("table3-04", 1), error("table3-07", 1)))),
    S("table 3", "training the decoder alone mends it more", "2.88 against 3.75",
      Falls((error("table3-07", 1), error("table3-05", 1))), "21 updates: level"),
    S("table 3", "a decoder trained from random weights is far better than one from the transpose",
      "0.36 against 2.88", Falls((error("table3-05", 1), error("table3-06", 1)))),
    S("table 3", "the trained encoder with an untrained random decoder is worse than a random one",
      "17.8 against 8.81", Above((error("table3-03", 1), error("table3-01", 1))),
      "random weights are drawn wider here"),
    S("table 3", "with both trained from random weights, all is best: convolution",
      "0.13 (0.042 of silence)",
      Falls(tuple(error(f"table3-{row}", 1) for row in ("08", "06", "12")), strictly=True)),
    S("table 3", "both trained from random weights: best, one unit", "0.69 (0.22)",
      Falls(tuple(error(f"table3-{row}", 3) for row in ("06", "12")))),
    S("table 3", "both trained from random weights: best, two units", "1.77 (0.57)",
      Falls(tuple(error(f"table3-{row}", 6) for row in ("06", "12"))), "21 updates: level"),
    S("table 3", "a random encoder that is kept is as good to decode from as the trained one",
      "0.24 against 0.36", Near((error("table3-06", 1), error("table3-11", 1)), 0.05)),
    S("6.1", "good networks get worse by pooling", "0.13 to 0.69",
      Falls((error("table3-12", 1), error("table3-12", 3)), rises=True)),
    S("6.1", "bad ones get better", "107 to 27.1",
      Falls((error("table3-04", 1), error("table3-04", 3)))),
    S("6.2", "untrained, switch is better than blind", "3.29 against 4.73",
      Falls((error("table4-03", 3), error("table4-01", 3)))),
    *(S("6.2", f"trained, switch is better than blind: {name}", theirs,
        Falls((error(BLIND, layer), error(SWITCH, layer))))
      for name, layer, theirs in (("one unit", 3, "0.69 against 3.03"),
                                  ("two units", 6, "1.77; blind not trained"),
                                  ("three units", 9, "2.22; blind not trained"))),
    S("6.2", "blind networks give the average whatever the input: error", "0.98 to 1.02",
      Near((error(BLIND, 6), error(BLIND, 9)), 0.05), "1.01 and 1.00"),
    S("table 4", "regular training, switch: more units, more error", "0.22, 0.57, 0.72, 0.80",
      Falls(tuple(error(SWITCH, layer) for layer in (3, 6, 9)), rises=True)),
    S("table 4", "regular training, switch, one unit, over silence", "0.22",
      Within(error(SWITCH, 3), most=0.3), "recorded: 21 updates; the paper has 9,375"),
    S("table 4", "regular training, switch, two units, over silence", "0.57",
      Within(error(SWITCH, 6), most=0.65)),
    S("table 4", "strong stacking is worse than regular training, two units", "2.20 against 1.77",
      Above((error("table4-09", 6), error(SWITCH, 6))),
      "with as many phases as units it has had twice the updates"),
    S("table 4", "weak stacking is better, two units", "1.52 against 1.77",
      Falls((error(SWITCH, 6), error("table4-10", 6)))),
    S("table 4", "weak stacking is worse, three units", "2.32 against 2.22",
      Above((error("table4-10", 9), error(SWITCH, 9)))),
    S("6.2", "weakly stacked blind networks give the average too", "1.00",
      Near((error("table4-11", 6), error("table4-11", 9)), 0.02)),
    S("6.2", "ReLUs in the decoder make no difference once trained", "2.22, 2.22",
      Near((error(SWITCH, 9), error("table4-06", 9)), 0.05)),
    S("6.2", "untrained, leaving them out harms: blind, three units", "3.18 to 3.19",
      Above((error("table4-04", 9), error("table4-03", 9)))),
    S("table 4", "four units are harder still", "2.48 against 2.22", Above((
      error(SWITCH, 12), error(SWITCH, 9))),
      "`NETWORK=freq-padded UNITS=4 sh examples/riemens2015-tables.sh CORPUS`"),
    S("sec. 7", "switches leak: a zeroed code still decodes, three units", "yes",
      Within(error(SWITCH, 9, "zeroed_correlation"), least=0.3)),
    S("6.3", "random weights are the best start of a classifier: error", "48.2 % of 50.5–95.8",
      Falls((table5("strong switch", False),
             table5("random", False))),
      "within 2 points of each other, the spread over seeds being near 1"),
    S("6.3", "weights trained further are better than weights kept: random", "48.2 against 66.3 %",
      Falls((table5("random", True),
             table5("random", False)))),
    S("6.3", "a blindly trained encoder is useless: chance", "97.9 %",
      Within(table5("regular blind", True), least=95.0),
      "too few updates to spoil it"),
    S("6.3", "strong stacking helps most of the autoencoders: trained further", "50.5 %",
      Falls((table5("regular switch", False),
             table5("strong switch", False)))),
    S("sec. 8", "test errors are below training errors", "everywhere",
      Falls((error("table3-04", 1, "train"), error("table3-04", 1))),
      "untrained rows too, as in the paper: the test split is easier"),
)  # fmt: skip

KRUG = (
    S("3.1", "a network of letters: letter error rate below that of a constant text", "–",
      Within(Of("letters|model", "letter error rate", ceiling=0.0), most=0.76, scale="%"),
      "chance: the constant text; an eighth of Krug's widths"),
    S("4.3", "letters have a peak of energy at the middle in common", "by eye",
      Within(letters("none", "common peak"), least=0.1), "in deviations of a band"),
    S("4.3", "alignment by smallest sensitivity makes it smaller", "by eye",
      Falls((letters("none", "common peak"), letters("min-sensitivity", "common peak")))),
    S("4.3", "by largest sensitivity too", "by eye",
      Falls((letters("none", "common peak"), letters("max-sensitivity", "common peak")))),
    S("4.3", "by LRP it vanishes", "by eye",
      Falls((letters("min-sensitivity", "common peak"), letters("max-lrp", "common peak"))),
      "halved, not gone"),
    S("4.2", "LRP finds frames farther from the middle than sensitivity", "by eye",
      Falls((letters("min-sensitivity", "shift [ms]"), letters("max-lrp", "shift [ms]")),
            rises=True), "mean shift in ms"),
    S("4.3", "smallest and largest sensitivity differ little", "by eye",
      Near((letters("min-sensitivity", "shift [ms]"), letters("max-sensitivity", "shift [ms]")),
           15.0)),
    S("4.3", "a vowel's letter shows formants, aligned by sensitivity", "700 and 2700 Hz of ‘a’",
      Within(letters("max-sensitivity", "formant energy"), least=1.2),
      "density over chance 1, in Hillenbrand's bands, which the synthesizer does not follow"),
    S("4.3", "and not those of other vowels", "–",
      Within(letters("max-sensitivity", "formant energy in others' bands"), most=1.1)),
    S("4.3", "with LRP patterns are weaker", "more wide-spread",
      Falls((letters("min-sensitivity", "strength"), letters("max-lrp", "strength")))),
    S("4.3", "no patterns without alignment", "none to be seen",
      Within(letters("none", "strength"), most=1.2),
      "strongest without: what answers share stands at one place before"),
    S("4.3", "a phone's vowels show formants, aligned", "–",
      Within(phones("max-sensitivity", "formant energy"), least=1.2)),
    S("4.3", "‘t’: a burst in the middle, aligned by sensitivity", "by eye", Within(
      letters("min-sensitivity", "burst of plosives"), beyond_chance=True),
      "`sh examples/krug2018.sh CORPUS`; a jitter of 20 ms leaves a third ([navai](navai.md))"),
    S("4.3", "alignment changes ‘t’ less than ‘a’", "by eye", Untold(),
      "`navai.zarr` holds `shift` and `count`; the comparison is not scored"),
    S("4.1", "optima of low layers look like spectrograms, those of high ones do not", "by eye",
      Untold(), "no measure of it here"),
    S("4.1", "optima of the last layer are zero at both ends", "by eye", Untold(),
      "`speechscope maximize letters.pt --layer output`; not run"),
    S("4.2", "LRP is confined to few places, sensitivity is not", "by eye", Untold(),
      "`speechscope relevance letters.pt --method gradient,lrp --rule krug`; not scored"),
)  # fmt: skip

PLAIN = "relraw-(synth|rec)|relevance-phone"
RANDOM = "random weights have it as often (chance)"

MUCKENHIRN = (
    S("4.1", "a network for phones on raw waveforms learns", "23.6 % phone errors",
      Within(Of("raw-(phone|synth-0|rec-0)", "class-balanced accuracy", ceiling=1.0), least=0.25,
             scale="%", beyond_chance=True), "accuracy of windows over 39 classes"),
    S("4.1", "speakers are named by utterance", "98.3 %",
      Within(Of("raw-speaker", "accuracy of windows", ceiling=1.0), least=0.9, scale="%"),
      "of windows, ten speakers; utterances are not pooled"),
    *(S("table 2", f"relevance has the vowel's {quantity}, {name}", theirs,
        Within(vowels(f"{quantity} of all vowels, {group}"), least=0.7, scale="%"),
        why or RANDOM)
      for quantity, group, name, theirs, why in (
          ("F0", "F", "women", "91–94 %", ""), ("F0", "M", "men", "89–93 %", ""),
          ("F1", "F", "women", "90–93 %", ""), ("F1", "M", "men", "88–93 %", ""),
          ("F2", "F", "women", "94–95 %", ""), ("F2", "M", "men", "93–94 %", ""))),
    *(S("table 2", f"it is learnt: {quantity} more often than in random weights, {name}",
        "not asked", Within(vowels(f"{quantity} of all vowels, {group}"), scale="%",
                            beyond_chance=True),
        "guided backpropagation passes on what it is given")
      for quantity, group, name in (("F0", "M", "men"), ("F1", "M", "men"), ("F2", "M", "men"))),
    *(S("table 2", f"{quantity} more often than white noise and other voices, {name}", "not asked",
        Above(tuple(vowels(f"{quantity} of all vowels, {group}{bound}")
                    for bound in ("", ", white noise", ", another item")), "%"),
        "`sh examples/muckenhirn2019.sh CORPUS`")
      for quantity, group, name in (("F1", "F", "women"), ("F1", "M", "men"),
                                    ("F2", "F", "women"), ("F2", "M", "men"))),
    S("table 2", "without averaging over shifts: F0 of men", "89–93 %",
      Within(Of(PLAIN, "F0 of all vowels, M", "method=guided"), least=0.7,
             scale="%"), "the first layer's step of 10 samples hides the period"),
    S("table 2", "plain gradients: F1 of men", "not asked",
      Within(Of(PLAIN, "F1 of all vowels, M", "method=gradient"), most=0.5,
             scale="%"), "far less: it is the ReLUs of guided backpropagation"),
    *(S("table 2", f"the other reading, about the table's mean: {quantity}, men", theirs,
        Within(vowels(f"{quantity} by the table of all vowels, M"), least=0.8, scale="%"),
        "of the table's own voices 67–71 %; these are other accents")
      for quantity, theirs in (("F0", "89–93 %"), ("F1", "88–93 %"), ("F2", "93–94 %"))),
    S("4.3", "a speaker network's relevance has F0 too: women", "fig. 6",
      Within(Of("speaker-windows-shifted", "F0 of voiced, F"), least=0.6, scale="%"), RANDOM),
    S("4.3", "the same, men", "fig. 6",
      Within(Of("speaker-windows-shifted", "F0 of voiced, M"), least=0.6, scale="%"), RANDOM),
    S("4.3", "it peaks at low frequencies, 2–3.5 and 3.5–5 kHz", "fig. 5", Untold(),
      "`spectral_relevance` of `relevance speaker.pt`; not scored"),
    S("4.3", "phone relevance can be understood, speaker relevance not", "by ear", Untold(),
      "`relevance --wav DIR` writes both"),
    S("fig. 3", "relevance has the wave's period though it looks different", "by eye",
      Within(vowels("F0 of all vowels, F"), least=0.7, scale="%"), "measured as F0"),
)  # fmt: skip

PELLEGRINI = (
    *(S("4.1", f"F rises with depth: {algorithm}, {reduction}", "fig. 1",
        Falls(tuple(f_measure(layer, reduction, algorithm) for layer in ("input", "relu5")),
              rises=True)) for algorithm in ("kmeans", "spectral")
      for reduction in ("none", "pca", "tsne")),
    S("4.1", "French, F rises with depth: t-SNE and spectral", "0.34 to 0.74",
      French(Falls(tuple(f_measure(layer, "tsne", "spectral")
                         for layer in ("input", "pool1", "relu4", "relu5")), rises=True)),
      "3 minutes of speech, samples of the training split"),
    S("4.1", "F at the last layer, t-SNE and spectral", "0.74",
      Within(f_measure("relu5", "tsne", "spectral"), least=0.6), "38.5 % of recorded frames right"),
    S("4.1", "F of the input", "0.3 to 0.4", Within(f_measure("input", "tsne", "spectral"),
                                                   least=0.3)),
    *(S("4.1", f"t-SNE helps in convolutional layers: {algorithm}, {layer}", "fig. 1",
        Above((f_measure(layer, "tsne", algorithm), f_measure(layer, "none", algorithm))))
      for algorithm in ("kmeans", "spectral") for layer in ("conv1", "conv2", "pool2")),
    *(S("4.1", f"and no longer in dense ones: {algorithm}, last layer", "fig. 1",
        Near((f_measure("relu5", "tsne", algorithm), f_measure("relu5", "none", algorithm)), 0.05))
      for algorithm in ("kmeans", "spectral")),
    *(S("4.1", f"k-means is as good as spectral clustering: {layer}, none", "fig. 1",
        Near((f_measure(layer, "none", "kmeans"), f_measure(layer, "none", "spectral")), 0.05))
      for layer in ("input", "pool1", "relu4", "relu5")),
    S("4.2", "spectral: number of clusters by blocks of affinity", "7 of 33",
      Within(chosen("spectral", "blocks, to each own"), 5, 9),
      "finds 2 to 5 of seven isolated blobs"),
    S("4.2", "the same by distances in the embedding", "7 of 33",
      Within(chosen("spectral", "to the nearest other centre"), 5, 9),
      "finds 7 of seven isolated blobs"),
    S("4.2", "k-means: number of clusters", "17 of 33",
      Within(chosen("kmeans", "to the nearest other centre"), 12, 22),
      "distance over that to the nearest other centre; mean over seeds and sizes"),
    S("4.2", "seven spectral clusters are those of manner", "completely coherent",
      Within(Of("seven", "purity in manner", ceiling=1.0), least=0.65, beyond_chance=True),
      "chance: manners given to phones at random"),
    S("4.2", "French, the same", "completely coherent",
      French(Within(Of("seven", "purity in manner", ceiling=1.0), least=0.65, beyond_chance=True))),
    S("4.2", "but not of place", "–",
      Within(Of("seven", "purity in place", ceiling=1.0), most=0.6)),
    S("4.2", "/R/ and /l/ are spread over clusters", "yes", Untold(),
      "French: /v/ is, /l/ is with /@/; `composition` holds it ([clusters](clustering.md))"),
    S("4.2", "plosives divide into three with 17 clusters", "/b d g/, /t/, /p k/", Untold(),
      "`cluster --clusters 17 --layer relu5`; not run"),
    S("fig. 3", "maps of conv1 follow F1 and not F2", "by eye", Untold(), "no measure of it here"),
    S("fig. 4", "maps of voiced and voiceless plosives are alike", "by eye", Untold(),
      "`class_projection` of `clusters.zarr`; not scored"),
    S("sec. 2", "the network's errors", "26.7 % phone errors",
      Within(Of("logmel(-synth-0)?", "class-balanced accuracy", ceiling=1.0), least=0.6, scale="%",
             beyond_chance=True), "accuracy of frames"),
)  # fmt: skip

PAPERS = {
    "Churchman 2015": CHURCHMAN,
    "Riemens 2015": RIEMENS,
    "Krug and Stober 2018": KRUG,
    "Muckenhirn 2019": MUCKENHIRN,
    "Pellegrini and Mousset 2016": PELLEGRINI,
}
