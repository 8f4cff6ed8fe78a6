"""The classifiers of the papers as tables."""

from speechscope.networks.layers import Conv, Linear, MaxPool, Network, ReLU, Shape
from speechscope.registry import NETWORKS

SEGMENT: Shape = (1, 201, 16)
"""Churchman 2015, sec. 3.2: 201 bins × 16 frames."""
RAW: Shape = (1, 1, 4000)
"""Muckenhirn 2019, sec. 4.1: 250 ms of a waveform at 16 kHz."""

# Dropout stands in a table where its paper names a rate; for the others, of which Churchman 2015
# (sec. 2.1.4) names the method alone, the training settings choose one.

# Churchman 2015, table 1, and Riemens 2015, table 2 and sec. 3.3, print depths (convolutions,
# fully connected layers) and, here and there, a kernel or a pooling region. What they leave open
# is taken from fig. 6: 8 and 16 maps, 1000 units, a second kernel of 6.


@NETWORKS.register("time")
def time(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return the network whose kernels span all frequencies (Churchman 2015, table 1).

    Depth 2, 2. The first kernel spans all frequencies and three frames: 201 × 3 (sec. 3.3).
    """
    table = (
        Conv(8, kernel=(201, 3)),  # 201 × 16 → 1 × 14 × 8
        ReLU(),
        MaxPool((1, 2), stride=(1, 2)),  # → 7
        Conv(16, kernel=(1, 3)),  # → 5; chosen: three frames again
        ReLU(),
        MaxPool((1, 2), stride=(1, 2)),  # → 2
        Linear(1000),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("freq")
def freq(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return the network that convolves over frequency (Churchman 2015, table 1).

    Depth 2, 2; pools of 2 × 1 that do not overlap (sec. 3.3).
    """
    table = (
        Conv(8, kernel=(8, 16)),  # 201 × 16 → 194 × 1 × 8
        ReLU(),
        MaxPool((2, 1), stride=(2, 1)),  # → 97
        Conv(16, kernel=(6, 1)),  # → 92
        ReLU(),
        MaxPool((2, 1), stride=(2, 1)),  # → 46
        Linear(1000),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("freq-large")
def freq_large(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return `freq` with 40 × 16 in place of 8 × 16 in the first layer (sec. 3.3).

    Depth 2, 2; 40 × 16 in place of 8 × 16 in the first layer (sec. 3.3).
    """
    table = (
        Conv(8, kernel=(40, 16)),  # 201 × 16 → 162 × 1 × 8
        ReLU(),
        MaxPool((2, 1), stride=(2, 1)),  # → 81
        Conv(16, kernel=(30, 1)),  # → 52; chosen: five times as large, like the first
        ReLU(),
        MaxPool((2, 1), stride=(2, 1)),  # → 26
        Linear(1000),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("freq-padded")
def freq_padded(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return Riemens 2015, fig. 2: padded convolutions, ReLUs after pools, depth 4, 3.

    Riemens 2015, fig. 2: every size, ReLUs after pools; depth 4, 3. Kernels are those of
    Churchman 2015, fig. 6, padded (sec. 4.2.1); that of the fourth convolution, printed
    nowhere, is the one with which the first fully connected layer there covers its 18 × 1
    input.
    """
    table = (
        Conv(8, kernel=(8, 16), padding="same"),  # 201 × 16 → 201 × 16 × 8
        MaxPool((5, 2), stride=(2, 2)),  # → 99 × 8
        ReLU(),
        Conv(16, kernel=(6, 1), padding="same"),  # → 99 × 8 × 16
        MaxPool((5, 2), stride=(2, 2)),  # → 48 × 4
        ReLU(),
        Conv(32, kernel=(4, 1), padding="same"),  # → 48 × 4 × 32
        MaxPool((5, 2), stride=(2, 2)),  # → 22 × 2
        ReLU(),
        Conv(1000, kernel=(18, 1), padding="same"),  # → 22 × 2 × 1000
        MaxPool((22, 2), stride=(1, 1)),  # sec. 4.2.1: the whole map → 1 × 1
        ReLU(),
        Linear(1000),
        ReLU(),
        Linear(1000),
        ReLU(),
        # Fig. 2: dropout 0.9 between "feature extraction" and "classification"; the latter is taken
        # to be this layer, as its place in the figure suggests.
        Linear(None, dropout=0.9),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("freq-overlap")
def freq_overlap(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return Churchman 2015, fig. 6: pools of 5 over frequency that overlap (sec. 4.1).

    Churchman 2015, fig. 6: every size; sec. 4.1: pools of 5 over frequency, stride 2.
    """
    table = (
        Conv(8, kernel=(8, 16)),  # 201 × 16 → 194 × 1 × 8
        ReLU(),
        MaxPool((5, 1), stride=(2, 1)),  # → 95
        Conv(16, kernel=(6, 1)),  # → 90
        ReLU(),
        MaxPool((5, 1), stride=(2, 1)),  # → 43
        Conv(32, kernel=(4, 1)),  # → 40
        ReLU(),
        MaxPool((5, 1), stride=(2, 1)),  # → 18
        Linear(1000),
        ReLU(),
        Linear(1000),
        ReLU(),
        Linear(1000),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("freq-overlap-padded")
def freq_overlap_padded(input_shape: Shape = SEGMENT, classes: int = 48) -> Network:
    """Return `freq-overlap` with padded convolutions (Churchman 2015, sec. 6.5).

    Churchman 2015, sec. 6.5: the network above with padded convolutions, "such that no border
    information was lost". Sizes and pools as Riemens 2015, fig. 2 (pools 5 × 2, stride 2 × 2).
    The papers print no kernel sizes: the kernels are kept as they are in fig. 6, so the second
    and third convolution still run over frequency alone, one frame at a time.
    """
    table = (
        Conv(8, kernel=(8, 16), padding="same"),  # 201 × 16 → 201 × 16 × 8
        ReLU(),
        MaxPool((5, 2), stride=(2, 2)),  # → 99 × 8
        Conv(16, kernel=(6, 1), padding="same"),  # → 99 × 8 × 16
        ReLU(),
        MaxPool((5, 2), stride=(2, 2)),  # → 48 × 4
        Conv(32, kernel=(4, 1), padding="same"),  # → 48 × 4 × 32
        ReLU(),
        MaxPool((5, 2), stride=(2, 2)),  # → 22 × 2
        Linear(1000),
        ReLU(),
        Linear(1000),
        ReLU(),
        Linear(1000),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("logmel")
def logmel(input_shape: Shape = (3, 40, 11), classes: int = 48) -> Network:
    """Return Pellegrini 2016, sec. 2: log filter banks of 11 frames, "Xavier" weights.

    Pellegrini 2016, sec. 2: kernels of 3 × 5 and pools of 1 × 3 and 1 × 2, there (time,
    frequency); pools over frequency alone; dropout 0.5 "with the dense hidden layers only".
    Sec. 3 gives the last map as 7 × 4. Chosen: ReLUs after the convolutions too (the default of
    its toolkit); logits for a softmax in place of the paper's sigmoid outputs.
    """
    table = (
        Conv(32, kernel=(5, 3)),  # 40 × 11 × 3 → 36 × 9 × 32
        ReLU(),
        MaxPool((3, 1), stride=(3, 1)),  # → 12 × 9
        Conv(64, kernel=(5, 3)),  # → 8 × 7 × 64
        ReLU(),
        MaxPool((2, 1), stride=(2, 1)),  # → 4 × 7
        Linear(1024),
        ReLU(),
        Linear(1024, dropout=0.5),
        ReLU(),
        Linear(1024, dropout=0.5),
        ReLU(),
        Linear(None, dropout=0.5),
    )
    return Network(table, input_shape, classes, xavier=True)


# Muckenhirn 2019, table 1 and sec. 4.1: raw waveforms, one bin of which time is the only axis;
# every convolution is followed by a max-pooling of 3 samples every 3, then a ReLU.


@NETWORKS.register("raw-phone")
def raw_phone(input_shape: Shape = RAW, classes: int = 48) -> Network:
    """Return Muckenhirn 2019, table 1: phones of raw waveforms."""
    table = (
        Conv(80, kernel=(1, 30), stride=(1, 10)),  # 4000 samples (250 ms) → 398 × 80
        MaxPool((1, 3), stride=(1, 3)),  # → 132
        ReLU(),
        Conv(60, kernel=(1, 7)),  # → 126
        MaxPool((1, 3), stride=(1, 3)),  # → 42
        ReLU(),
        Conv(60, kernel=(1, 7)),  # → 36
        MaxPool((1, 3), stride=(1, 3)),  # → 12
        ReLU(),
        Linear(1024),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)


@NETWORKS.register("raw-speaker")
def raw_speaker(input_shape: Shape = RAW, classes: int = 48) -> Network:
    """Return Muckenhirn 2019, table 1: speakers of the training split.

    One class a speaker of the training split; any window of 250 ms or more (sec. 3.2).
    """
    table = (
        Conv(80, kernel=(1, 30), stride=(1, 10)),  # 4000 samples (250 ms) → 398 × 80
        MaxPool((1, 3), stride=(1, 3)),  # → 132
        ReLU(),
        Conv(80, kernel=(1, 10)),  # → 123
        MaxPool((1, 3), stride=(1, 3)),  # → 41
        ReLU(),
        Linear(100),
        ReLU(),
        Linear(None),
    )
    return Network(table, input_shape, classes)
