"""What trainings keep between epochs: copies of weights, and when to stop."""

from torch import Tensor, nn


def copied_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of all weights and statistics of a network, on the CPU."""
    weights = network.state_dict()
    return {name: value.detach().cpu().clone() for name, value in weights.items()}


def is_over(made: int, planned: int, best: int, patience: int) -> bool:
    """Return whether a training is over.

    That is, all planned epochs are made, or the best of those `made` was `patience` epochs ago; a
    patience of 0 waits for ever.

    Parameters
    ----------
    made, planned
        Epochs.
    best
        The best epoch so far, from 1.
    """
    stalled = patience > 0 and made - best >= patience
    return made >= planned or (made > 0 and stalled)
