"""A recipe's values as the settings of the methods."""

from typing import Any

from speechscope.inversion.align import AlignSettings
from speechscope.inversion.anneal import AnnealSettings
from speechscope.inversion.bold_driver import BoldDriverSettings
from speechscope.inversion.bp import BpSettings
from speechscope.inversion.chain import InversionSettings
from speechscope.inversion.rules import RuleSettings


def inversion_settings(chosen: Any) -> InversionSettings:
    """Return the settings that the values of ``invert`` in `speechscope.recipes` stand for."""
    return InversionSettings(
        l2=chosen.l2,
        block=chosen.block,
        average=chosen.average,
        noise=chosen.noise,
        bp=BpSettings(
            steps=chosen.steps,
            start=chosen.start,
            rule=RuleSettings(
                name=chosen.optimizer,
                rate=chosen.step_size or 0.0,
                driver=BoldDriverSettings(
                    rate=chosen.step_size or 0.0, up=chosen.up, down=chosen.down, stop=chosen.stop
                ),
            ),
        ),
        anneal=AnnealSettings(
            proposals=chosen.proposals,
            chains=chosen.chains,
            rows=chosen.rows,
            share=chosen.share,
            reach=chosen.reach,
            temperature=chosen.temperature,
            cooling=chosen.cooling,
            seed=chosen.seed,
        ),
    )


def align_settings(chosen: Any) -> AlignSettings:
    """Return those of the decoders that ``align`` trains."""
    return AlignSettings(
        items=chosen.align_items,
        epochs=chosen.align_epochs,
        batch=chosen.align_batch,
        hidden=chosen.align_hidden,
        rate=chosen.align_rate,
        dropout=chosen.align_dropout,
        lags=chosen.align_lags,
        seed=chosen.seed,
    )
