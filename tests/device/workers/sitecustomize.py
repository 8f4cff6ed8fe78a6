"""On PYTHONPATH, new Python processes know the pretend device too, such as those of ``--workers``.

They have to: what they are sent holds its tensors.
"""

from device import fakegpu  # noqa: F401
