"""CPU accelerators, each beside the plain function it replaces.

Nothing imports this package but `speechscope.work.accelerators.fastest`, by the names below: delete
it, and everything still runs, slower, with the same results.
"""

REPLACES: dict[str, str] = {
    "speechscope.clustering.kmeans:kmedians": "speechscope.fast.kmedians:kmedians",
    "speechscope.navai.averages:add_aligned": "speechscope.fast.aligned_sums:add_aligned",
    "speechscope.networks.maps:convolve": "speechscope.fast.one_signal:convolve",
    "speechscope.inversion.anneal:Chains": "speechscope.fast.changed_rows:Chains",
    "speechscope.inversion.problem:Objective": "speechscope.fast.frozen:FrozenObjective",
    "speechscope.training.step:Step": "speechscope.fast.training_step:FastStep",
}
"""``module:function`` of a plain function → that of its accelerator, which takes the same arguments
and raises `speechscope.work.accelerators.Unsupported` where it has no form for them."""
