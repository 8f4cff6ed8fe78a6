"""Inputs that are worked on together, and the class each is predicted as."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Block:
    """Some inputs.

    Parameters
    ----------
    inputs
        (B, C, F, T), centred.
    target
        The class each is predicted as, (B,).
    shift
        (A, B) [frames], by alignment.
    item
        The item of the corpus each comes from, (B,).
    output
        Which of the item's outputs it is, (B,); 0 where it has one.
    done
        How many of the items asked for are done with, this block included.
    """

    inputs: Tensor
    target: Tensor
    shift: Tensor
    item: NDArray[np.int64]
    output: NDArray[np.int64]
    done: int

    def kept(self, which: Tensor) -> "Block":
        """Return those inputs for which `which` (B,) is true."""
        rows = which.cpu().numpy()
        if rows.all():
            return self
        return Block(
            self.inputs[which],
            self.target[which],
            self.shift[:, which],
            self.item[rows],
            self.output[rows],
            self.done,
        )
