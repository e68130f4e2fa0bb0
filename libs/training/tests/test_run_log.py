"""The log of a run, opened for its next part."""

from pathlib import Path

import pytest
from vermeil_training import read_metrics
from vermeil_training.run_log import RunLog


def test_a_resumed_run_that_breaks_off_where_it_cuts_its_log_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RunLog(tmp_path, 0) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": 1 / step})
    before = read_metrics(tmp_path)

    def breaks(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("vermeil_training.run_log.os.fsync", breaks)
        with pytest.raises(KeyboardInterrupt):
            RunLog(tmp_path, 2)
    assert read_metrics(tmp_path) == before
    with RunLog(tmp_path, 2) as log:
        log.write(3, {"loss": 0.25})
    assert [line["loss"] for line in read_metrics(tmp_path)] == [1, 0.5, 0.25]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "tensorboard"]
