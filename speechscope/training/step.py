"""One step of training: forward, back, and AdaGrad."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from speechscope.networks.layers import Network
from speechscope.networks.pooling import Unsupported
from speechscope.training.thinning import ThinnedLayers
from speechscope.training.trunk import Trunk


class Step:
    """AdaGrad on the softmax log-loss of a network, with dropout of whole units.

    w ← w − η g / (√G + ε), G ← G + g² (Churchman 2015, sec. 5.2), g = ∂E/∂w + λ w.

    Parameters
    ----------
    network
        The network, on the device to train on; it is trained in place.
    lr, l2
        η and λ.
    dropout
        Share of the units before every fully connected layer but the first that is left out.
    batch
        The most items a step is given.
    """

    def __init__(
        self, network: Network, *, lr: float, l2: float, dropout: float, batch: int
    ) -> None:
        self._network = network
        shares = dict.fromkeys(list(network.dropout)[1:], dropout)
        self._layers = ThinnedLayers(network, shares, batch)
        try:
            self._trunk: Trunk | None = Trunk(network, batch)
        except Unsupported:
            self._trunk = None
        self._optimizer = torch.optim.Adagrad(
            network.parameters(),
            lr=lr,
            weight_decay=l2,
            # One pass over weights, sums and derivatives; a CPU kernel.
            fused=next(network.parameters()).device.type == "cpu",
        )

    @property
    def sums(self) -> dict[str, Tensor]:
        """G of every parameter, by its name."""
        state = self._optimizer.state
        return {name: state[p]["sum"] for name, p in self._network.named_parameters()}

    def load_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Set G, by parameter name."""
        for name, value in self.sums.items():
            value.copy_(sums[name])

    @property
    def kept(self) -> list[Tensor]:
        """The units left in at the last step, of every fully connected layer but the last."""
        return self._layers.kept

    def __call__(
        self, x: Tensor, wanted: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch; return its mean loss and its number of right answers.

        Parameters
        ----------
        x, wanted
            Inputs (B, C, F, T) and their classes (B,).
        generator
            Draws the units that are left out; on the CPU, whatever the device.
        """
        self._layers.draw(generator)
        if self._trunk is not None:
            units = self._trunk.forward(x)
        else:
            units = self._network.activation(x, self._layers.last_row).flatten(1)
        logits = self._layers.forward(units.detach())
        logarithms = functional.log_softmax(logits, 1)
        loss = functional.nll_loss(logarithms, wanted)
        right = (logits.argmax(1) == wanted).sum()
        # ∂E/∂logits of the mean log-loss: (softmax − one-hot) / B.
        grad = logarithms.exp_()
        grad[torch.arange(len(x), device=x.device), wanted] -= 1
        grad = self._layers.backward(grad.div_(len(x)))
        if self._trunk is not None:
            self._trunk.backward(grad)
        else:
            for name in self._network.names[: self._layers.last_row]:
                if name.startswith("conv"):
                    for parameter in self._network.parameters_of(name):
                        parameter.grad = None
            units.backward(grad)  # type: ignore[no-untyped-call]
        self._optimizer.step()
        return loss, right
