"""Settings of decoder and autoencoder training, and what its epochs report."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from speechscope.errors import UsageProblem
from speechscope.networks.autoencoders import Scheme
from speechscope.training.stacking import Stack

TOGETHER = -1
"""The phase number under which the history lists the fine-tuning of everything together."""


@dataclass(frozen=True)
class DecoderSettings:
    """Settings of decoder training.

    Parameters
    ----------
    epochs
        Of each phase: one for ``none``, one a stage or unit for the other stacks.
    together
        Epochs of everything together after that.
    per_class, test_per_class
        Items a class and epoch, resampled as for classifiers (Churchman 2015, sec. 3.3).
    batch
        Items a batch.
    lr
        Master step size of AdaGrad (sec. 5.2) in the phases, as a share of the root mean square
        of each layer's weights as the phase begins.
    lr_together
        The same for everything together.
    scheme
        How the autoencoders are made. First weights of the stack ``decoder`` are then scaled so
        that a stage's first output is as large as its target.
    stack
        In which order the parts are trained.
    noise
        Gaussian noise on the inputs of the encoder in training, as a share of their root mean
        square; what is to be restored stays clean (a denoising autoencoder).
    sparse, contractive
        What `speechscope.training.penalties` give is multiplied by and added to the objective.
    seed
        For the samples, random weights and noise.

    Raises
    ------
    UsageProblem
        The settings contradict each other.
    """

    epochs: int = 3
    together: int = 6
    per_class: int = 50
    test_per_class: int = 20
    batch: int = 128
    lr: float = 0.1
    lr_together: float = 0.02
    scheme: Scheme = field(default_factory=Scheme)
    stack: Stack = "decoder"
    noise: float = 0.0
    sparse: float = 0.0
    contractive: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        encoder = self.scheme.encoder
        if self.scheme.trains_encoder and self.stack == "decoder":
            raise UsageProblem(
                f"--stack decoder restores what a kept encoder does: with --encoder {encoder} "
                "choose --stack none, weak or strong"
            )
        for name in ("sparse", "contractive"):
            if getattr(self, name) and not self.scheme.trains_encoder:
                raise UsageProblem(
                    f"--{name} shapes the code of an encoder that is trained, and --encoder "
                    f"{encoder} keeps it: choose --encoder init or random"
                )

    def check_made(self, history: Sequence["Record"], schedule: Sequence[tuple[int, int]]) -> None:
        """Refuse to go on from epochs that are not the first ones of `schedule`.

        Parameters
        ----------
        history
            The epochs made, in order.
        schedule
            (phase, epoch) of every epoch that these settings ask for.
        """
        made = list(dict.fromkeys((record.stage, record.epoch) for record in history))
        if made != list(schedule[: len(made)]):
            alone = max((epoch + 1 for phase, epoch in made if phase != TOGETHER), default=0)
            fine = sum(phase == TOGETHER for phase, _ in made)
            raise UsageProblem(
                f"--epochs {self.epochs} --together {self.together}: --resume finds "
                f"{alone} epochs a phase and {fine} together made; keep their numbers, or run "
                "without --resume"
            )


@dataclass(frozen=True)
class Record:
    """One epoch of one decoder.

    `train` and `test` are mean Euclidean distances to the target, ‖X* − X′‖ (sec. 6.2): of the
    batches as they were trained on, and after the epoch. `silence` is the test target's mean
    distance to zeros; a test error near it means that the decoder maps everything to silence.
    `stage` counts the phases, `TOGETHER` for the last; `target` is the layer restored.
    """

    layer: int
    stage: int
    epoch: int
    target: int
    train: float
    test: float
    silence: float
