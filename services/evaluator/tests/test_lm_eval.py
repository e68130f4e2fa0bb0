"""lm-eval, given the same weights as a Hugging Face model, finds the same nats in every document."""

import json
from pathlib import Path

import pytest
from vermeil_data import TextTokenizer, open_dataset
from vermeil_evaluator.evaluate import Evaluation, Named, evaluate
from vermeil_model import export_llama, load_checkpoint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of lm-eval's and transformers' own making
def test_rolling_perplexity_is_that_of_lm_eval(
    model_folder: Path, many_texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from lm_eval.api.instance import Instance  # type: ignore[import-untyped]
    from lm_eval.models.huggingface import HFLM  # type: ignore[import-untyped]

    tokenizer, model = TextTokenizer.load(model_folder), load_checkpoint(model_folder)
    ids = {"bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    export_llama(tmp_path / "exported", model, extra=ids)
    tokenizer.save(tmp_path / "exported")
    window = model.config.context_length - 2  # what its API models make of max_length = context_length
    theirs = HFLM(
        pretrained=str(tmp_path / "exported"),
        dtype="float32",
        device="cpu",
        max_length=window,
        add_bos_token=False,
    )
    texts = [sample.text for sample in open_dataset(many_texts).split("validation")]
    requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
    expected = [-logprob for logprob in theirs.loglikelihood_rolling(requests, disable_tqdm=True)]

    out = tmp_path / "out"
    evaluate(Evaluation("rolling-perplexity"), Named("m", model_folder), Named("d", many_texts), out)
    items = [json.loads(line) for line in (out / "items.jsonl").read_text().splitlines()]
    assert [item["nats"] for item in items] == pytest.approx(expected, rel=1e-5)
