"""The small run on a disk that has room for one checkpoint and a half."""

import sys
from pathlib import Path

from vermeil_data import open_encoded
from vermeil_errors import VermeilError
from vermeil_training import RunConfig, TrainingConfig, fit
from vermeil_training.testing import SmallRun

small, folder = SmallRun(open_encoded(Path(sys.argv[1]))), Path(sys.argv[2])
config = TrainingConfig(run=RunConfig(steps=12, checkpoint_every=4))
try:
    fit(config, small.model(), small.loader(), small.validation(), folder)
except VermeilError as error:
    print(error.reason, *(path.name for path in (folder / "checkpoints").iterdir()))  # noqa: T201
