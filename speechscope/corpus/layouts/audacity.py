"""Label tracks that Audacity exports: ``start end label`` in a ``.txt`` beside the recording."""

import re
from pathlib import Path

from speechscope.corpus.files import top_of
from speechscope.corpus.layouts import WORDS_RANK
from speechscope.corpus.layouts.label_files import LabelFiles
from speechscope.registry import LAYOUTS

_ROW = re.compile(r"\s*\d+[.,]\d+\s+\d+[.,]\d+\s")


@LAYOUTS.register("audacity")
class Audacity(LabelFiles):
    """See the module; files are read as those of `LabelFiles`."""

    rank = WORDS_RANK
    needs = "recording that a .txt with labels goes with"
    suffixes = (".txt",)
    texts = ()

    def recognises(self, path: Path) -> bool:
        """See `Layout`: it begins with two times."""
        return _ROW.match(top_of(path)) is not None
