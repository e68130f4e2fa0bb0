"""What holding answers to a JSON Schema adds to a decode step, and what compiling the schema costs.

A GPT of random weights (6 layers × 384) over a byte-level vocabulary of 4,096 entries, learned from Python's
own library; 1, 8 and 32 answers at once, sampled, all of them held or none, a step of each in turn.
Seconds of CPU of the decoding thread, so that a busy machine changes little.
"""

import argparse
import json
import os
import platform
import statistics
import sysconfig
import time
from importlib.metadata import version
from pathlib import Path

import torch
from vermeil_data import TextTokenizer, TokenizerSpec, train_tokenizer
from vermeil_generator.grammar import Grammar, GuidanceGrammars, tried
from vermeil_generator.output_format import JsonSchema
from vermeil_model import Decoder, ModelConfig, PackedModel, Request, SamplingParameters, TextModel

RESULTS = Path(__file__).parent / "results"
STREAMS = (1, 8, 32)
VOCABULARY = 4096
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "email": {"type": "string", "pattern": "^[a-z]{1,20}@[a-z]{1,20}\\.(org|net)$"},
        "kind": {"enum": ["reader", "writer", None]},
        "is_active": {"type": "boolean"},
    },
    "required": ["name", "age", "email", "kind", "is_active"],
    "additionalProperties": False,
}
PEOPLE = JsonSchema(json.dumps({"type": "array", "items": PERSON, "minItems": 1000}))
"""Never at its end while it is measured."""


def main() -> None:
    """Measure, print, write."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=40, help="in a round")
    chosen = arguments.parse_args()
    tokenizer = _tokenizer()
    packed = _model(tokenizer)
    grammars = GuidanceGrammars(tokenizer, VOCABULARY)
    began = time.perf_counter()
    grammar = grammars.compile(PEOPLE)
    compiled = time.perf_counter() - began
    began = time.perf_counter()
    assert not tried('start: "a"')
    child = time.perf_counter() - began
    rows = [_compared(packed, tokenizer, grammar, count, chosen.rounds, chosen.steps) for count in STREAMS]
    report = {
        "machine": {"cpu": platform.processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in ("torch", "llguidance")},
        "compile_ms": compiled * 1e3,
        "of_which_an_empty_trial_ms": child * 1e3,
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "formats.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"compiling once: {compiled * 1e3:.0f} ms, of which an empty trial takes {child * 1e3:.0f} ms")
    for row in rows:
        print(
            f"{row['streams']:3.0f} streams: step {row['free_ms']:.2f} ms free, {row['held_ms']:.2f} ms held,"
            f" {row['added_us_a_token']:.0f} µs a token ({row['added_share']:.1%})"
        )


def _tokenizer() -> TextTokenizer:
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    return train_tokenizer(texts, TokenizerSpec("bpe", VOCABULARY))


def _model(tokenizer: TextTokenizer) -> PackedModel:
    model = TextModel(ModelConfig.from_depth(6, tokenizer.vocab_size, context_length=256))
    model.init_weights(torch.Generator().manual_seed(0))
    return PackedModel(model.to(torch.bfloat16))


def _compared(
    packed: PackedModel, tokenizer: TextTokenizer, grammar: Grammar, count: int, rounds: int, steps: int
) -> dict[str, float]:
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        decoders = {held: Decoder(packed, num_slots=count) for held in (False, True)}
        for held, decoder in decoders.items():
            decoder.add(_requests(tokenizer, grammar if held else None, count, steps))
            decoder.step()  # warms up
        for _ in range(steps):
            for held, decoder in decoders.items():
                began = time.thread_time()
                decoder.step()
                seconds[held].append(time.thread_time() - began)
        assert not any(decoder.num_free for decoder in decoders.values())
    free, held_ = (statistics.median(seconds[held]) for held in (False, True))
    added = statistics.median(h - f for f, h in zip(seconds[False], seconds[True], strict=True))
    return {
        "streams": count,
        "free_ms": free * 1e3,
        "held_ms": held_ * 1e3,
        "added_us_a_token": added * 1e6 / count,
        "added_share": added / free,
    }


def _requests(tokenizer: TextTokenizer, grammar: Grammar | None, count: int, steps: int) -> list[Request]:
    """They end by themselves as little as held ones do."""
    never = dict.fromkeys(tokenizer.special_ids, -1e4)
    parameters = [
        SamplingParameters(seed=seed, max_tokens=steps + 3, logit_bias=never) for seed in range(count)
    ]
    prompt = tokenizer.encode("people = ", add_bos=True)
    return [Request(prompt, each, guide=grammar.begin() if grammar else None) for each in parameters]


if __name__ == "__main__":
    main()
