"""Corpora as people have them (`../shared/cases/corpora`): what `prepare` makes of each.

Every case stands for its kind; the values are those that the READMEs of the cases call right, or
follow from how the corpus was written.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cases
import numpy as np
import pytest
from cases import FIVE, FULL, PHONES, REST, both, files, grid, listed, phones, timed, timit

from speechscope.cli import run
from speechscope.corpus.arrays import names_of
from speechscope.store.artifact import Artifact

AS_IS = ["--phone-set", "as-is", "--max-length", "none"]
TWO = dict.fromkeys(PHONES, 2)
THREE = {"sil": 2, "aa": 2, "s": 2}
SILENT = [(0.0, 0.1, "sp"), (0.1, 0.2, "AA1"), (0.2, 0.3, "S"), (0.3, 1.0, "sp")]
ASKED = [(0.0, 0.5, "sp"), (0.5, 0.6, "IH1"), (0.6, 1.0, "sp")]
FAVE = {
    f"{name}.TextGrid": grid(
        (f"{speaker} - phone", SILENT),
        (f"{speaker} - word", [(0.0, 1.0, "x")]),
        ("Interviewer - phone", ASKED),
        ("Interviewer - word", [(0.0, 1.0, "x")]),
    )
    for name, speaker in (("F01", "Speaker A"), ("M02", "Speaker B"))
}
WORDS = ("words", [(0.0, 1.0, "x")])
L2 = (
    WORDS,
    (
        "phones",
        [(0.0, 0.1, "sil"), (0.1, 0.2, "AA1,AO,s"), (0.2, 0.3, "S"), (0.3, 0.4, "TH,T*,s"),
         (0.4, 0.45, "sil,K,a"), (0.45, 0.5, "D,sil,d"), (0.5, 0.6, "sp")],
    ),
)  # fmt: skip
EVENTS = ("<p:>", "a:", "s", "I", "t_h", "?", "<usb>", "<nib>")
EIGHT = [(n / 10, (n + 1) / 10, label) for n, label in enumerate(EVENTS)]
STATES = "".join(
    f"{n * 1000000 + s * 300000} {n * 1000000 + (s + 1) * 300000} s{s} -12.5"
    + (f" {p} -60.1" if s == 0 else "")
    + "\n"
    for n, p in enumerate(PHONES)
    for s in range(3)
)
ALONE = "".join(f"{n * 500000} {(n + 1) * 500000} s{n % 3} -12.5\n" for n in range(15))
BUCKEYE = ("{B_TRANS}", "aa", "s", "IVER", "iy", "tq", "SIL", "VOCNOISE", "ihn; *", "{E_TRANS}")
ONE_LINE = (
    '"ooTextFile"\n"TextGrid"\n0 1.0 ! time domain\n<exists>\n1 tiers\n"IntervalTier" "phones"\n'
    "0 1.0 ! domain\n6 intervals coming\n" + timed('{a} {b} "{p}" ! interval', (*FIVE, REST))
)
NFC = unicodedata.normalize("NFC", "café")
NFD = unicodedata.normalize("NFD", "café")


@dataclass(frozen=True)
class Right:
    """What is right: the exit code, how often each class, and what is said."""

    classes: dict[str, int] = field(default_factory=dict)
    says: str = ""
    code: int = 0


def refused(says: str) -> Right:
    return Right(says=says, code=1)


def grids(content: dict[str, str]) -> Callable[[Path], Path]:
    """Make a corpus of grids, a recording of the same name beside each."""
    sounds = [str(Path(name).with_suffix(".wav")) for name in content]
    return files(*sounds, labels=dict(content))


CASES: dict[str, tuple[Callable[[Path], Path], list[str], Right]] = {
    # 1. never wrong in silence
    "labels at 16 kHz, sound at 48": (
        timit(rate=48000),
        [],
        refused(
            "labels at another rate: .* at 16000 Hz, but it is at 48000 Hz.*--label-rate 16000"
        ),
    ),
    "labels at 16 kHz, sound at 8": (timit(rate=8000), [], refused("labels at another rate")),
    "labels at 16 kHz, sound at 44.1": (
        timit(rate=44100),
        [],
        refused("at 16000 Hz, but it is at 44100 Hz"),
    ),
    "labels at 44.1 kHz, sound at 16": (
        timit(label_rate=44100),
        [],
        refused("they end at sample 44100.*--label-rate 44100"),
    ),
    "labels at 48 kHz, as the flag says": (
        timit(rate=16000, label_rate=48000),
        ["--label-rate", "48000"],
        Right(TWO),
    ),
    "labels at 16 kHz, as the flag says": (
        timit(rate=48000),
        ["--label-rate", "16000"],
        Right(TWO),
    ),
    "the flag where labels are in seconds": (
        both(".TextGrid", phones()),
        ["--label-rate", "16000"],
        refused("labels in seconds"),
    ),
    "labels of a third": (
        both(".TextGrid", phones(*FIVE[:3])),
        [],
        Right(THREE, r"before 50% of .*\(0.30 of 1.00 s\)"),
    ),
    "speakers of one folder": (
        files(
            *(f"p22{s}_{n}.wav" for s in range(4) for n in range(3)),
            labels={f"p22{s}_{n}.TextGrid": phones(*FIVE[:2]) for s in range(4) for n in range(3)},
        ),
        [],
        Right(
            {"sil": 12, "aa": 12}, r"4 speakers by the names .*p220 \(p220_0.wav\).*\n.*by speaker"
        ),
    ),
    "a wav and an mp3": (
        lambda root: cases.audio(".mp3")(both(".TextGrid", phones())(root)),
        AS_IS,
        Right(TWO, r"2 recordings lie there twice.*A/u.wav and not u.mp3"),
    ),
    "names that case tells apart": (
        files(
            "A/U1.wav",
            "A/u1.wav",
            "B/u.wav",
            labels={
                "A/U1.TextGrid": phones(),
                "B/u.TextGrid": phones(),
                "A/u1.TextGrid": phones((0, 0.1, "sil"), (0.1, 0.2, "iy"), (0.2, 1.0, "")),
            },
        ),
        [],
        Right({"sil": 3, "aa": 2, "s": 2, "iy": 3, "t": 2}),
    ),
    "names of SAMPA": (
        grids(
            {
                f"{s}/{name}.TextGrid": phones((0.0, 0.1, ""), (0.1, 0.2, label), (0.2, 1.0, ""))
                for s in "AB"
                for name, label in zip("sSeE", ("s", "sh", "ey", "eh"), strict=True)
            }
        ),
        [],
        Right({"s": 2, "sh": 2, "ey": 2, "eh": 2}),
    ),
    "names that Unicode writes in two ways": (
        files(
            f"A/{NFD}.wav", f"B/{NFD}.wav", labels={f"{s}/{NFC}.TextGrid": phones() for s in "AB"}
        ),
        [],
        Right(TWO),
    ),
    "both spellings in one folder": (
        grids({f"A/{name}.TextGrid": phones() for name in (NFC, NFD)}),
        [],
        Right(TWO),
    ),
    "a folder that no split has": (
        timit(("TRAIN/a/u", "TEST/b/u", "VALIDATE/c/u")),
        [],
        Right(TWO, "VALIDATE: 1 recordings passed over.*TEST, TRAIN are; --split share:0.25", 4),
    ),
    "a stray test": (
        timit(("spk1/u", "spk2/u", "spk3/u", "test/u"), rows=FIVE),
        [],
        refused("spk1: 1 recordings passed over: it is no split, as test is; --split share:0.25"),
    ),
    "a stray test, as the message says": (
        timit(("spk1/u", "spk2/u", "spk3/u", "test/u"), rows=FIVE),
        ["--split", "share:0.25"],
        Right(dict.fromkeys(PHONES, 4)),
    ),
    "a speaker called VAL": (
        grids({f"{s}/u.TextGrid": phones() for s in ("VAL", "TOM", "ANN")}),
        [],
        Right(dict.fromkeys(PHONES, 3), "VAL: not taken for splits"),
    ),
    "a folder beside train and test": (
        grids({f"{s}/a/u.TextGrid": phones() for s in ("train", "test", "old")}),
        [],
        Right(TWO, "old: 1 recordings passed over", 4),
    ),
    "HTK's states": (both(".lab", STATES), [], Right(TWO)),
    "HTK's states without names": (
        both(".lab", ALONE),
        ["--phone-set", "timit-48"],
        refused(r"30 of 30 labels are not in .*s0"),
    ),
    "labels with blanks": (
        both(".lab", "0.0\t0.1\tlong aa\n0.1\t0.2\tlong iy\n0.2\t0.3\ts\n"),
        AS_IS,
        Right({"long_aa": 2, "long_iy": 2, "s": 2}),
    ),
    "labels with blanks, parted by blanks": (
        both(".lab", "0.0 0.1 long aa\n0.1 0.2 long iy\n0.2 0.3 s\n"),
        AS_IS,
        Right({"long_aa": 2, "long_iy": 2, "s": 2}),
    ),
    "sample numbers in a .lab": (
        both(".lab", timed("{m} {n} {p}", (*FIVE, (0.5, 1.0, "sil")))),
        [],
        Right(TWO, "in another unit than 100 ns"),
    ),
    "milliseconds in a .lab": (
        both(".lab", timed("{i} {j} {p}", (*FIVE, (0.5, 1.0, "sil")))),
        [],
        Right(TWO, "in another unit than 100 ns"),
    ),
    "rows given twice": (cases.manifest(times=2), AS_IS, Right(THREE, "6 rows are there twice")),
    "channels that cancel": (cases.opposite, AS_IS, refused("channels that cancel each other")),
    # 2. errors that send the user on
    "no tier of a usual name": (
        both(".TextGrid", grid(("Narrow", (*FIVE, REST)))),
        AS_IS,
        refused("A/u.wav: u.TextGrid has no tier of a usual name; its tiers are: Narrow; .*--tier"),
    ),
    "a tier without labels": (
        both(".TextGrid", phones((0.0, 1.0, ""))),
        AS_IS,
        refused("u.TextGrid: no label in tier phones"),
    ),
    "a path with backslashes": (
        cases.manifest(slash="\\"),
        AS_IS,
        refused(r"manifest.csv line 2 names a file .* write /"),
    ),
    "a recording that is not read": (
        lambda root: cases.write(
            both(".TextGrid", phones())(root),
            {"C/u.m4a": b"\0\0\0 ftypM4A ", "C/u.TextGrid": phones()},
        ),
        AS_IS,
        Right(TWO, "u.m4a: .m4a is not read; convert it to WAV or FLAC", 4),
    ),
    "no other": (
        lambda root: cases.write(root, {"A/u.m4a": b"\0\0\0 ftypM4A ", "A/u.TextGrid": phones()}),
        AS_IS,
        refused(".m4a is not read; convert it to WAV or FLAC"),
    ),
    "names that differ": (
        files(
            "wav/p1/p1_1_mic1.flac",
            "wav/p1/p1_1_mic2.flac",
            labels={"TextGrid/p1/p1_1.TextGrid": phones()},
        ),
        [],
        refused("one name but for the suffix, and .*p1_1.TextGrid and .*p1_1_mic1.flac have not"),
    ),
    "a stray PHN": (
        files(
            "A/a.wav",
            "B/a.wav",
            "C/a.wav",
            "extra/x.wav",
            labels={"extra/x.phn": "0 1600 aa\n", **{f"{s}/a.TextGrid": phones() for s in "ABC"}},
        ),
        [],
        Right({"aa": 1}, r"read as timit: 1 .phn; left out: 3 .textgrid \(--layout textgrid\)", 4),
    ),
    "a stray TextGrid": (
        files(
            "A/a.wav",
            "B/a.wav",
            labels={
                "A/notes.TextGrid": phones(),
                **{f"{s}/a.lab": timed("{h} {k} {p}") for s in "AB"},
            },
        ),
        [],
        refused(r"left out: 2 .lab \(--layout lab\)"),
    ),
    "only long ones": (
        timit(rows=[(0.0, 0.4, "aa"), (0.4, 0.9, "s")]),
        [],
        refused("4 longer than 2554 samples: --max-length none"),
    ),
    "only SA sentences": (
        timit(("TRAIN/DR1/FCJF0/SA1", "TEST/DR1/FAKS0/SA1")),
        [],
        refused("2 SA sentences: --keep-sa"),
    ),
    "SA sentences kept": (
        timit(("TRAIN/DR1/FCJF0/SA1", "TEST/DR1/FAKS0/SA1")),
        ["--keep-sa"],
        Right(TWO),
    ),
    "only training": (
        timit(("TRAIN/DR1/FCJF0/SX37", "TRAIN/DR1/FDAW0/SX37")),
        [],
        Right(TWO, "no item to test on: .*--split share:0.25"),
    ),
    "train and dev only": (
        grids({f"{s}/x/u.TextGrid": phones() for s in ("train", "dev")}),
        [],
        Right(TWO, "no item to test on"),
    ),
    "one utterance": (
        timit(("SX37",)),
        [],
        Right(cases.SPELT, r"^(?!.*says what to test).*no item to test on"),
    ),
    "shorten": (cases.shorten, [], refused("compressed with shorten; convert it with sph2pipe")),
    "times that were preserved": (
        both(
            ".TextGrid",
            grid(
                ("phones", [(a + 12.5, b + 12.5, p) for a, b, p in (*FIVE, REST)]),
                start=12.5,
                end=13.5,
            ),
        ),
        AS_IS,
        refused(r"start at 12.5 s .*preserved; shift them to zero \(in Praat"),
    ),
    "more intervals than declared": (
        both(".TextGrid", phones().replace("size = 6", "size = 4")),
        AS_IS,
        refused("tier phones declares 4 intervals but holds 6; MFA 3.0.0"),
    ),
    "an unlabelled rest": (
        both(".TextGrid", grid(("phones", (*FIVE, (0.5, 1.5, ""))), end=1.5)),
        AS_IS,
        Right(TWO, "ends before the unlabelled rest"),
    ),
    "the other byte order": (cases.damaged(cases.rifx), [], Right(TWO)),
    "the size of a stream": (cases.damaged(cases.endless), [], Right(TWO)),
    "no end-of-stream mark": (
        cases.damaged(cases.unended, ".ogg"),
        [],
        refused("u.ogg: has no end-of-stream mark"),
    ),
    # 3. what people have
    **{
        f"sound as {suffix}": (cases.audio(suffix, form, subtype), AS_IS, Right(TWO))
        for suffix, form, subtype in (
            (".aifc", "", None),
            (".au", "", None),
            (".snd", "", None),
            (".oga", "", "VORBIS"),
            (".caf", "", None),
            (".w64", "", None),
            (".dat", "WAV", None),
            ("", "FLAC", None),
            (".ADC", "NIST", None),
        )
    },
    "interviews": (
        grids(FAVE),
        [],
        Right({"sil": 2, "aa": 2, "s": 2, "ih": 2}, "3 speakers by their"),
    ),
    "interviews, a tier": (
        grids(FAVE),
        ["--tier", "phone"],
        Right({"sil": 2, "aa": 2, "s": 2, "ih": 2}),
    ),
    "interviews, a pattern": (
        grids(FAVE),
        ["--tier", "*Speaker* - phone"],
        Right({"sil": 2, "aa": 2, "s": 2}),
    ),
    "tiers whose names differ": (
        grids({"A/u.TextGrid": grid(("Narrow", FIVE)), "B/u.TextGrid": grid(("my phones", FIVE))}),
        ["--tier", "narrow|*phones"],
        Right(TWO),
    ),
    "two tiers of one name": (
        both(".TextGrid", grid(("phones", [(0.0, 1.0, "t")]), ("phones", FIVE))),
        [],
        refused("several such tiers: phones, phones; --tier 'phones#2' takes the second"),
    ),
    "the second of two": (
        both(".TextGrid", grid(("phones", [(0.0, 1.0, "t")]), ("phones", FIVE))),
        ["--tier", "phones#2"],
        Right(TWO),
    ),
    "one of two is empty": (
        both(".TextGrid", grid(("phones", [(0.0, 1.0, "")]), ("phones", FIVE))),
        [],
        Right(TWO),
    ),
    "full-context labels": (
        both(".lab", timed("{h} {k} " + FULL.replace("{}", "{p}"))),
        [],
        Right(TWO),
    ),
    "full-context labels of states": (
        both(
            ".lab",
            "".join(
                f"{n}{s * 2}00000 {n + (s == 4)}{(s + 1) % 5 * 2}00000 {FULL.format(p)}[{s + 2}]\n"
                for n, p in enumerate(PHONES)
                for s in range(5)
            ),
        ),
        [],
        Right(TWO),
    ),
    "triphones": (
        both(
            ".lab",
            "0 1000000 sil\n1000000 2000000 sil-aa+s\n2000000 3000000 aa-s+iy\n"
            "3000000 4000000 s-iy+t\n4000000 5000000 iy-t\n",
        ),
        [],
        Right(TWO),
    ),
    "HTK's .rec": (both(".rec", timed("{h} {k} {p} -12.0")), [], Right(TWO)),
    "HTK's .mlf": (
        listed(
            "all.mlf",
            "#!MLF!#\n" + "".join(f'"*/{s}/{s}_a.lab"\n{timed("{h} {k} {p}")}.\n' for s in "AB"),
        ),
        [],
        Right(TWO),
    ),
    "Kaldi's .ctm": (
        listed("all.ctm", "".join(timed(f"{s}_a 1 {{a}} {{d:.3f}} {{p}}_I") for s in "AB")),
        [],
        Right(TWO),
    ),
    "Buckeye": (
        both(
            ".phones",
            "header\ntype 0\n#\n"
            + "".join(f"    {(n + 1) / 10:.6f}  122 {label}\n" for n, label in enumerate(BUCKEYE)),
        ),
        [],
        Right({"aa": 2, "s": 2, "iy": 2, "sil": 2, "ih": 2}),
    ),
    "xlabel without a header": (both(".lab", timed("{b} 125 {p}")), [], Right(TWO)),
    "Audacity": (both(".txt", timed("{a:.6f}\t{b:.6f}\t{p}")), [], Right(TWO)),
    "Audacity's frequencies": (
        both(".lab", timed("{a:.6f}\t{b:.6f}\t{p}\n\\\t100.0\t2000.0")),
        [],
        Right(TWO),
    ),
    "ELAN": (both(".eaf", cases.eaf(("phones", "", FIVE))), [], Right(TWO)),
    "ELAN, two speakers": (
        both(".eaf", cases.eaf(("phones@K1", "Kim", FIVE), ("phones@K2", "Lee", FIVE[1:3]))),
        [],
        Right({"sil": 2, "aa": 4, "s": 4, "iy": 2, "t": 2}, "2 speakers by their tiers: Kim, Lee"),
    ),
    "ELAN, nothing in it": (
        both(".eaf", '<?xml version="1.0"?><ANNOTATION_DOCUMENT/>'),
        [],
        refused("u.eaf holds no tier"),
    ),
    "EMU": (both("_annot.json", cases.emu()), [], Right(TWO)),
    "EMU, nothing in it": (
        both("_annot.json", '{"name":"a","levels":[]}'),
        [],
        refused("holds no level with times"),
    ),
    "the aligner's table": (both(".csv", cases.aligner_csv()), [], Right(TWO)),
    "the aligner's JSON": (both(".json", cases.aligner_json()), [], Right(TWO)),
    "L2-ARCTIC": (
        both(".TextGrid", grid(*L2)),
        [],
        Right({"sil": 4, "aa": 2, "s": 2, "th": 2, "d": 2}),
    ),
    "L2-ARCTIC, as it was said": (
        both(".TextGrid", grid(*L2)),
        ["--annotated", "perceived"],
        Right({"sil": 4, "ao": 2, "s": 2, "t": 2, "k": 2}),
    ),
    "L2-ARCTIC, both folders": (
        files(
            "ABA/wav/a1.wav",
            "BWC/wav/a1.wav",
            labels={
                f"{s}/{kind}/a1.TextGrid": grid(WORDS, ("phones", FIVE))
                for s in ("ABA", "BWC")
                for kind in ("annotation", "textgrid")
            },
        ),
        [],
        Right(
            TWO, r"^(?!.*has no recording).*textgrid/a1.TextGrid: .* has labels in .*annotation", 4
        ),
    ),
    "WebMAUS": (
        both(".TextGrid", grid(("ORT-MAU", WORDS[1]), ("KAN-MAU", WORDS[1]), ("MAU", EIGHT))),
        [],
        Right({"sil": 2, "a:": 2, "s": 2, "I": 2, "t": 2, "?": 2}, "--phone-set x-sampa"),
    ),
    "WebMAUS as it is": (
        both(".TextGrid", grid(("MAU", EIGHT))),
        AS_IS,
        Right({"<p:>": 2, "a:": 2, "s": 2, "I": 2, "t_h": 2, "?": 2}),
    ),
    "the aligner's IPA": (
        both(
            ".TextGrid",
            grid(
                WORDS,
                (
                    "phones",
                    [
                        (0.0, 0.1, ""),
                        (0.1, 0.2, "tʃ"),
                        (0.2, 0.3, "ɑː"),
                        (0.3, 0.4, "pʰ"),
                        (0.4, 1.0, "spn"),
                    ],
                ),
            ),
        ),
        [],
        Right({"sil": 2, "tʃ": 2, "ɑː": 2, "p": 2}, "--phone-set ipa"),
    ),
    "the aligner's noises": (
        both(
            ".TextGrid",
            grid(
                WORDS,
                (
                    "phones",
                    [
                        (n / 10, (n + 1) / 10, p)
                        for n, p in enumerate(
                            ("sil", "spn", "<eps>", "AA1", "sp", "<unk>", "noi", "lau", "")
                        )
                    ],
                ),
            ),
        ),
        [],
        Right({"sil": 8, "aa": 2}),
    ),
    "UTF-16 without a mark": (both(".TextGrid", phones().encode("utf-16-le")), AS_IS, Right(TWO)),
    "UTF-16 of the other order": (
        both(".TextGrid", phones().encode("utf-16-be")),
        AS_IS,
        Right(TWO),
    ),
    "chronological": (both(".TextGrid", cases.CHRONOLOGICAL), AS_IS, Right(TWO)),
    "a collection": (both(".TextGrid", cases.COLLECTION), AS_IS, Right({"s": 2})),
    "comments": (both(".TextGrid", ONE_LINE), AS_IS, Right(TWO)),
    "keywords in a label": (
        both(
            ".TextGrid",
            grid(
                ("notes", [(0.0, 0.5, 'he said text = "x"'), (0.5, 1.0, "intervals [3]:")]),
                ("phones", (*FIVE, REST)),
            ),
        ),
        AS_IS,
        Right(TWO),
    ),
    "a start that is nearly zero": (
        both(".TextGrid", phones().replace("xmin = 0.0\n", "xmin = -1e-17\n")),
        AS_IS,
        Right(TWO),
    ),
    "semicolons": (cases.manifest(";"), AS_IS, Right(THREE)),
    "decimal commas": (
        files(
            "A/u.wav",
            "B/u.wav",
            labels={
                "manifest.csv": "audio;start;end;label\n"
                + "".join(timed(f"{s}/u.wav;{{a}};{{b}};{{p}}").replace("0.", "0,") for s in "AB")
            },
        ),
        AS_IS,
        Right(TWO),
    ),
    "both beside and in a tree": (
        files(
            "wav/A/u.wav",
            "wav/B/u.wav",
            "wav/A/u2.wav",
            "wav/A/only.wav",
            labels={
                f"{n}.TextGrid": phones() for n in ("TextGrid/A/u", "TextGrid/B/u", "wav/A/u2")
            },
        ),
        [],
        Right(dict.fromkeys(PHONES, 3), r"2 label files lie in another tree.*only.wav: has no", 4),
    ),
    "trees of any depth": (
        files(
            "audio/48k/s1/A/u1.wav",
            "audio/48k/s1/B/u2.wav",
            labels={"out/A/u1.TextGrid": phones(), "out/B/u2.TextGrid": phones()},
        ),
        [],
        Right(TWO, "goes with"),
    ),
    "all labels in one folder": (
        files(
            "wav/A/A_1.wav",
            "wav/B/B_1.wav",
            labels={f"grids/{n}_1.TextGrid": phones() for n in "AB"},
        ),
        [],
        Right(TWO),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_case_is_right(case: str, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build, options, right = CASES[case]
    build(workdir / "corpus")
    code = run(["prepare", "corpus", *options])
    said = capsys.readouterr().err
    assert code == right.code, said
    assert re.search(right.says, said, re.DOTALL), said
    assert "truncated" not in said and "Traceback" not in said
    if right.code == 1:
        assert not (workdir / "corpus.zarr").exists()
        assert said.count("\n") == 1
        return
    artifact = Artifact(workdir / "corpus.zarr", "corpus")
    names = names_of(artifact, "label")
    assert Counter(names[i] for i in artifact.read("label")) == right.classes
    assert said.count("\n") <= 24  # a screen


def read(workdir: Path, case: str, *options: str) -> Artifact:
    """Prepare a case; return what was written."""
    CASES[case][0](workdir / "corpus")
    assert run(["prepare", "corpus", "-q", *CASES[case][1], *options]) in (0, 4)
    return Artifact(workdir / "corpus.zarr", "corpus")


@pytest.mark.parametrize(
    "case",
    [
        "labels at 16 kHz, as the flag says", "labels at 48 kHz, as the flag says",
        "sample numbers in a .lab", "full-context labels", "HTK's .mlf", "Kaldi's .ctm", "ELAN",
        "EMU", "Audacity", "milliseconds in a .lab",
        "the aligner's JSON", "chronological", "xlabel without a header",
        "full-context labels of states", "UTF-16 without a mark", "decimal commas",
    ],
)  # fmt: skip
def test_labels_lie_where_they_were_said(case: str, workdir: Path) -> None:
    artifact = read(workdir, case)
    start, stop = artifact.read("start")[:5], artifact.read("stop")[:5]
    np.testing.assert_allclose(start, [1600 * n for n in range(5)], atol=1)
    np.testing.assert_allclose(stop, [1600 * (n + 1) for n in range(5)], atol=1)


def test_no_speaker_of_a_folder_is_in_two_splits(workdir: Path) -> None:
    artifact = read(workdir, "speakers of one folder")
    speaker, split = artifact.read("speaker"), artifact.read("split")
    assert names_of(artifact, "speaker") == ("p220", "p221", "p222", "p223")
    assert all(len(set(split[speaker == one].tolist())) == 1 for one in range(4))
    assert set(split.tolist()) == {0, 2}


def test_a_pattern_says_who_speaks(workdir: Path) -> None:
    artifact = read(workdir, "speakers of one folder", "--speaker-pattern", r"_(\d)$")
    assert names_of(artifact, "speaker") == ("0", "1", "2")


def test_the_lossless_recording_is_read(workdir: Path) -> None:
    import soundfile

    artifact = read(workdir, "a wav and an mp3")
    samples, _ = soundfile.read(workdir / "corpus/A/u.wav", dtype="float32")
    edges = artifact.read("waveform_offset")
    np.testing.assert_array_equal(artifact.read("waveform")[: edges[1]], samples[:1600])


def test_a_pause_while_another_speaks_is_none(workdir: Path) -> None:
    artifact = read(workdir, "interviews", "--max-length", "none")
    names = names_of(artifact, "speaker")
    assert names == ("Interviewer", "Speaker_A", "Speaker_B")
    # Of seven pauses of each recording the others speak in all but the first of the speaker's.
    spoken = [names[i] for i in artifact.read("speaker")]
    assert Counter(spoken) == {"Interviewer": 4, "Speaker_A": 3, "Speaker_B": 3}
