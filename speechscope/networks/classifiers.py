"""The classifiers of the papers as tables."""

from speechscope.networks.layers import Conv, Linear, MaxPool, ReLU, Table

# Dropout: the papers name it (Churchman 2015, sec. 2.1.4) without a rate for this network;
# the training settings choose one.

FREQ_OVERLAP: Table = (
    # Churchman 2015, fig. 6: every size; sec. 4.1: pools of 5 over frequency, stride 2.
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

FREQ_OVERLAP_PADDED: Table = (
    # Churchman 2015, sec. 6.5: the network above with padded convolutions, "such that no border
    # information was lost". Sizes and pools as Riemens 2015, fig. 2 (pools 5 × 2, stride 2 × 2).
    # The papers print no kernel sizes: the kernels are kept as they are in fig. 6, so the second
    # and third convolution still run over frequency alone, one frame at a time.
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

TABLES: dict[str, Table] = {
    "freq-overlap": FREQ_OVERLAP,
    "freq-overlap-padded": FREQ_OVERLAP_PADDED,
}
