"""BLEU, ROUGE-L and CIDEr-D give the figures of the programs everybody compares with."""

import numpy as np
import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from pycocoevalcap.cider.cider import Cider
from rouge_score.rouge_scorer import RougeScorer
from vermeil_errors import InvalidInput
from vermeil_metrics import bleu, bleu_counts, caption_words, cider_d, corpus_bleu, rouge_l
from vermeil_metrics.rouge import longest_common_subsequence

HYPOTHESES = [
    "The cat sat on the mat.",
    "It costs 1,234.50 dollars, or so they say - perhaps &amp; more...",
    "ein ganz anderer Satz über Größe",
    "a",
    "the the the the the the the",
    "A dog runs across a green field while two people watch it.",
]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."],
    ["It costs 1,234.50 dollars, they say; perhaps & more.", "It is 1,234.50 dollars."],
    ["ein anderer Satz über die Größe", "kein Satz"],
    ["a", "b c"],
    ["the cat is on the mat", "there is a cat"],
    ["A dog is running across a field while people watch.", "A brown dog runs over the grass."],
]
WORDS = st.lists(st.sampled_from([*"abcde", "the", "cat", ",", ".", "3.5", "x-y"]), max_size=12).map(" ".join)


def sacre(hypotheses: list[str], references: list[list[str]]) -> float:
    streams = [list(stream) for stream in zip(*references, strict=True)]
    return float(sacrebleu.corpus_bleu(hypotheses, streams).score)


def test_bleu_is_that_of_sacrebleu() -> None:
    assert corpus_bleu(HYPOTHESES, REFERENCES) == pytest.approx(sacre(HYPOTHESES, REFERENCES), abs=1e-9)
    assert 20 < corpus_bleu(HYPOTHESES, REFERENCES) < 60


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=2, max_size=2)), min_size=1, max_size=5))
def test_bleu_is_that_of_sacrebleu_on_any_corpus(corpus: list[tuple[str, list[str]]]) -> None:
    hypotheses, references = [each for each, _ in corpus], [each for _, each in corpus]
    if not any(any(of_item) for of_item in references):
        return  # sacrebleu refuses empty references
    assert corpus_bleu(hypotheses, references) == pytest.approx(sacre(hypotheses, references), abs=1e-9)


def test_bleu_of_many_sums_is_that_of_each() -> None:
    counts = np.array([bleu_counts(*pair) for pair in zip(HYPOTHESES, REFERENCES, strict=True)], float)
    alone = [corpus_bleu([each], [of_it]) for each, of_it in zip(HYPOTHESES, REFERENCES, strict=True)]
    assert bleu(counts) == pytest.approx(alone)


def test_rouge_l_is_that_of_rouge_score() -> None:
    scorer = RougeScorer(["rougeL"])
    for hypothesis, references in zip(HYPOTHESES, REFERENCES, strict=True):
        theirs = scorer.score_multi(references, hypothesis)["rougeL"].fmeasure
        assert rouge_l(hypothesis, references) == pytest.approx(theirs)


@given(WORDS, WORDS)
def test_rouge_l_is_that_of_rouge_score_on_any_text(hypothesis: str, reference: str) -> None:
    theirs = RougeScorer(["rougeL"]).score(reference, hypothesis)["rougeL"].fmeasure
    assert rouge_l(hypothesis, [reference]) == pytest.approx(theirs)


def test_a_common_subsequence_may_have_gaps() -> None:
    assert longest_common_subsequence("ABCBDAB", "BDCABA") == 4
    assert longest_common_subsequence("", "abc") == 0


def test_cider_d_is_that_of_pycocoevalcap() -> None:
    hypotheses = [caption_words(text) for text in HYPOTHESES]
    references = [[caption_words(text) for text in of_item] for of_item in REFERENCES]
    theirs = cider_of_coco(hypotheses, references)
    assert cider_d(hypotheses, references) == pytest.approx(theirs)
    assert max(theirs) > 1


@given(st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=2, max_size=6))
def test_cider_d_is_that_of_pycocoevalcap_on_any_corpus(corpus: list[tuple[str, list[str]]]) -> None:
    hypotheses, references = [each for each, _ in corpus], [each for _, each in corpus]
    if not any(any(of_item) for of_item in references):
        return  # pycocoevalcap refuses references without a word
    assert cider_d(hypotheses, references) == pytest.approx(cider_of_coco(hypotheses, references))


def cider_of_coco(hypotheses: list[str], references: list[list[str]]) -> list[float]:
    given_ = {index: [text] for index, text in enumerate(hypotheses)}
    _, scores = Cider().compute_score(dict(enumerate(references)), given_)
    return [float(score) for score in scores]


def test_captions_are_compared_by_their_words() -> None:
    assert caption_words("A dog's life, isn't it?  ") == "a dog's life isn't it"


def test_items_without_a_reference_are_refused() -> None:
    with pytest.raises(InvalidInput, match="one or more each"):
        cider_d(["a"], [[]])
    with pytest.raises(InvalidInput, match="as many as"):
        cider_d(["a"], [])
