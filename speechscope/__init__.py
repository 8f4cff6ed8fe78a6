"""speechscope opens speech CNNs: trains, inverts, explains, clusters and scores them."""

__version__ = "0.1.0"
