"""Two checkpoints of one run, measured and compared as a user does it: from folders to a verdict."""

import re
from pathlib import Path

import pytest
import torch
from vermeil_data import TextTokenizer, open_dataset
from vermeil_evaluator.__main__ import main
from vermeil_evaluator.compare import compare
from vermeil_evaluator.report import read_report
from vermeil_model import TextModel, save_checkpoint

STEPS = (4, 30)
"""After which the run is saved."""


@pytest.fixture
def checkpoints(tmp_path: Path, many_texts: Path, model_folder: Path, text_model: TextModel) -> list[Path]:
    """A run over the training texts, saved early and late."""
    tokenizer = TextTokenizer.load(model_folder)
    text = "".join(sample.text for sample in open_dataset(many_texts).split("train"))
    ids = torch.tensor(tokenizer.encode(text))
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(text_model.parameters(), lr=3e-3)
    text_model.train()
    folders = []
    for step in range(1, STEPS[-1] + 1):
        starts = torch.randint(len(ids) - 17, (16,), generator=generator).tolist()
        windows = torch.stack([ids[start : start + 17] for start in starts])
        loss = text_model(windows[:, :-1], targets_BT=windows[:, 1:]).loss
        assert loss is not None
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in STEPS:
            folders.append(tmp_path / f"step-{step}")
            tokenizer.save(folders[-1])
            save_checkpoint(folders[-1], text_model)
    return folders


def test_the_later_checkpoint_of_a_run_is_better_and_none_differs_from_itself(
    checkpoints: list[Path], many_texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [tmp_path / f"report-of-{folder.name}" for folder in checkpoints]
    for folder, report in zip(checkpoints, reports, strict=True):
        cache = str(tmp_path / "answers")
        assert main(str(folder), str(many_texts), "--out", str(report), "--cache", cache) == 0
    capsys.readouterr()
    early, late = map(str, reports)
    assert main("compare", late, early) == 0
    assert len(re.findall(r"p = 0\.0\d+ +first is better", capsys.readouterr().out)) == 2
    assert main("compare", early, late) == 0
    assert capsys.readouterr().out.count("second is better") == 2
    for report in reports:
        found = compare(read_report(report), read_report(report))
        assert [(each.difference.value, each.p_value) for each in found.metrics] == [(0.0, 1.0)] * 2
        assert {each.verdict for each in found.metrics} == {"no difference shown"}
