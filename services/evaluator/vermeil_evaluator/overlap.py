"""How much of what people wrote does a model write: what tasks of it share.

BLEU is sacrebleu's (0 to 100), ROUGE-L rouge_score's (0 to 1), CIDEr-D pycocoevalcap's (0 to 10).
"""

# ruff: noqa: ARG001 every conclusion is called alike

from collections.abc import Sequence

from vermeil_metrics import bleu_counts, caption_words, cider_d, rouge_l

from vermeil_evaluator.task import Conclusion, Row, Rule, Run, mean

BLEU, ROUGE_L, CIDER_D = Rule("bleu", "bleu", ("bleu_counts",)), mean("rouge_l"), mean("cider_d")


def overlap(text: str, references: Sequence[str]) -> Row:
    """What a sentence tells by itself."""
    return {
        "answer": text,
        "expected": references,
        "rouge_l": rouge_l(text, references),
        "bleu_counts": bleu_counts(text, references),
    }


def conclude(rows: Sequence[Row], run: Run) -> Conclusion:
    """CIDEr weighs words by how rare they are in all references."""
    hypotheses = [caption_words(row["answer"]) for row in rows]
    references = [[caption_words(text) for text in row["expected"]] for row in rows]
    for row, value in zip(rows, cider_d(hypotheses, references), strict=True):
        row["cider_d"] = float(value)
    return Conclusion()
