"""What may be added to an autoencoder's objective, as Riemens 2015, sec. 8 proposes.

Denoising (Vincent et al. 2008), sparse (Ng 2011) and contractive (Rifai et al. 2011) autoencoders.
"""

from collections.abc import Callable

import torch
from torch import Tensor

PROBE = 1e-2
"""Length of the steps that slopes are taken over, as a share of the input's root mean square."""


def gaussian(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return noise of the shape of x, with `share` of its root mean square.

    Drawn where the generator is, so that it is the same on every device.
    """
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=generator.device)
    return noise.to(x.device) * (share * x.detach().square().mean().sqrt())


def sparsity(code: Tensor) -> Tensor:
    """Return the mean over items of Σ |h|.

    Ng 2011 penalises the divergence of each unit's mean activity from a small one, which needs
    units between 0 and 1; for rectified units the L1 norm stands in its place.
    """
    return code.abs().flatten(1).sum(1).mean()


def contraction(
    encode: Callable[[Tensor], Tensor], x: Tensor, code: Tensor, generator: torch.Generator
) -> Tensor:
    """Return an estimate of the mean over items of ‖∂h/∂x‖² (Frobenius).

    ‖J‖² = E ‖J v‖² for v of independent components of variance 1; one v is drawn for each item, and
    J v = (h(x + ε v) − h(x)) / ε, which is exact where no ReLU and no maximum changes in between.

    Parameters
    ----------
    encode
        Gives the code of inputs.
    x, code
        Inputs (B, C, F, T) and their code (B, …).
    generator
        Draws v.

    Notes
    -----
    Rifai et al. 2011, eq. 1, the penalty; the estimate is chosen: an exact one takes a pass back
    through the encoder for every unit of the code.
    """
    step = gaussian(x, PROBE, generator)
    length = PROBE * x.detach().square().mean().sqrt()
    slope = (encode(x + step) - code) / length
    return slope.flatten(1).square().sum(1).mean()
