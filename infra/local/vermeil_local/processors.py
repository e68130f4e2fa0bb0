"""Several processes that compute share the processors of one machine.

OpenMP's threads spin while they wait for one another; where others want the processor too, they burn
what those they wait for need. Training a small model on two busy cores took 6 times as long so, and 4
times the processor time.
"""

import os

_VARIABLE = "OMP_WAIT_POLICY"


def share_processors() -> None:
    """Let threads that wait sleep, here and in child processes; before anything loads OpenMP."""
    os.environ.setdefault(_VARIABLE, "passive")
