"""Answers held to a grammar, by llguidance: the only file that knows it, beside grammar_trial.py.

A grammar is first tried in a process that may be killed, because nothing bounds what compiling it costs
(thirty patterns in one `allOf` do not end). Nothing is forced on the model beyond the mask: looking for
what is, llguidance walks all of `(a{1000}){1000}` in one step, 7 seconds.
"""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper, regex_to_lark
from torch import Tensor
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput, Overloaded, VermeilError
from vermeil_model import TokenGuide

from vermeil_generator.output_format import JsonSchema, OutputFormat, Regex, ToolCalls
from vermeil_generator.tool_spelling import AFTER_ARGUMENTS, CALL_BEGINS, before_arguments

KEPT = 64
"""Compiled grammars that stay in memory, those used last; agents send the same schema again and again."""
CPU_SECONDS = 2
"""Of a trial."""
PATIENCE_SECONDS = 20.0
"""Longest wait for a trial, its turn included, on a busy machine."""
LIMITS: Mapping[str, Any] = {
    "step_lexer_fuel": 50_000,
    "step_max_items": 20_000,
    "max_items_in_row": 3_000,
    "max_lexer_states": 20_000,
    "max_grammar_size": 100_000,
    "verbose_errors": False,
}
"""Of llguidance; a step that reaches them, after about 4 ms, ends its own answer with an error."""
_WRITTEN_AS = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": False}
"""As json.dumps writes it: a weak model would fill its answer with spaces."""
_OF_JSON = frozenset('{}[]":, 0123456789truefalsn')
"""Characters without which no JSON can be relied on."""
_DEAD_ENDS = frozenset({"", "NoExtension", "NoExtensionBias"})
"""What llguidance says where nothing more can come."""
_OVERLAP = "coerce_one_of"
_PLACE = re.compile(r"^(at )?(\d+\(\d+\): )?(failed to compile JSON schema: )?")


class Guide(TokenGuide, Protocol):
    """What of one answer's vocabulary may come next."""

    @property
    def error(self) -> VermeilError | None:
        """Why the grammar could not be followed further; only stop tokens are allowed from then on."""


class Grammar(Protocol):
    """A compiled format."""

    def begin(self) -> Guide:
        """A guide through one answer."""


class Grammars(Protocol):
    """Makes grammars for the vocabulary of one model."""

    def knows(self, format_: OutputFormat) -> bool:
        """Whether it is compiled already."""

    def compile(self, format_: OutputFormat) -> Grammar:
        """The grammar of a format.

        Raises:
            InvalidInput: It cannot be compiled in bounded time, or met in this vocabulary.
            Overloaded: Too many others are being compiled.
        """


class GuidanceGrammars:
    """Grammars over the bytes of a tokenizer; ids up to `vocab_size` that it lacks are never allowed."""

    def __init__(self, tokenizer: TextTokenizer, vocab_size: int) -> None:
        self._tokenizer = tokenizer
        self._stop_ids = sorted(tokenizer.stop_ids)
        self._words = _words(tokenizer, vocab_size)
        self._compiled: dict[OutputFormat, _MatcherGrammar] = {}
        """Least recently used first."""
        self._looking = threading.Lock()
        self._compiling = threading.Lock()

    def knows(self, format_: OutputFormat) -> bool:
        """Whether it is one of the last that were used."""
        with self._looking:
            return format_ in self._compiled

    def compile(self, format_: OutputFormat) -> Grammar:
        """The grammar of a format, from memory if it is one of the last that were used."""
        if (known := self._known(format_)) is not None:
            return known
        if self._words is None:
            raise InvalidInput(
                "works with byte-level and character vocabularies only",
                field=format_.field,
                fix="leave it out",
            )
        if not self._compiling.acquire(timeout=PATIENCE_SECONDS):
            raise Overloaded(
                "other grammars are being compiled", field=format_.field, fix="try again shortly"
            )
        try:
            return self._known(format_) or self._keep(format_, self._made(self._words, format_))
        finally:
            self._compiling.release()

    def _known(self, format_: OutputFormat) -> "_MatcherGrammar | None":
        with self._looking:
            known = self._compiled.pop(format_, None)
            if known is not None:
                self._compiled[format_] = known
            return known

    def _keep(self, format_: OutputFormat, made: "_MatcherGrammar") -> "_MatcherGrammar":
        with self._looking:
            self._compiled[format_] = made
            if len(self._compiled) > KEPT:
                del self._compiled[next(iter(self._compiled))]
            return made

    def _made(self, words: LLTokenizer, format_: OutputFormat) -> "_MatcherGrammar":
        self._check_alphabet(format_)
        grammar = _in_lark(format_, self._tokenizer.alphabet)
        if problem := tried(grammar):
            raise _refusal(format_, problem)
        matcher = LLMatcher(words, grammar, log_level=0, limits=LLParserLimits(**LIMITS))
        made = _MatcherGrammar(matcher, self._stop_ids, format_.field)
        guide = made.begin()
        allowed = guide.allowed()
        allowed[self._stop_ids] = False
        if guide.error is not None or not allowed.any():
            raise _refusal(format_, "")
        return made

    def _check_alphabet(self, format_: OutputFormat) -> None:
        alphabet = self._tokenizer.alphabet
        if not alphabet or isinstance(format_, Regex):
            return
        marks = before_arguments("") + AFTER_ARGUMENTS if isinstance(format_, ToolCalls) else ""
        lacking = sorted((_OF_JSON | set(format_.literals + marks)) - alphabet)
        if lacking:
            raise InvalidInput.for_field(
                format_.field,
                "".join(lacking),
                "are characters that this model cannot write",
                "use a model with a byte-level tokenizer, or a regular expression",
            )


class _MatcherGrammar:
    def __init__(self, matcher: LLMatcher, stop_ids: Sequence[int], field: str) -> None:
        self._matcher, self._stop_ids, self._field = matcher, stop_ids, field

    def begin(self) -> Guide:
        return _MatcherGuide(self._matcher.deep_copy(), self._stop_ids, self._field)


class _MatcherGuide:
    def __init__(self, matcher: LLMatcher, stop_ids: Sequence[int], field: str) -> None:
        self._matcher, self._stop_ids, self._field = matcher, stop_ids, field
        self.error: VermeilError | None = None

    def allowed(self) -> Tensor:
        allowed = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8).bool()
        if self._matcher.is_error() or not allowed.any():
            self.error = InvalidInput(
                f"could not be followed to its end: {_sentence(self._matcher.get_error())}",
                field=self._field,
                fix="ask for something simpler",
            )
            allowed.fill_(value=False)
            allowed[self._stop_ids] = True
        return allowed

    def take(self, token: int) -> None:
        self._matcher.consume_token(token)


class _Bytes:
    """A tokenizer as llguidance asks for it."""

    def __init__(self, tokenizer: TextTokenizer, table: Sequence[bytes], vocab_size: int) -> None:
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        unused = [b""] * (vocab_size - len(table))
        self.tokens = [word or b"<%d>" % index for index, word in enumerate(table)] + unused

    def __call__(self, _text: str | bytes) -> list[int]:
        """It would encode what the grammar forces, and nothing is forced."""
        return []


def tried(grammar: str) -> str:
    """What is wrong with a grammar; empty where it compiles and gives a first mask, in bounded time."""
    command = [sys.executable, "-m", "vermeil_generator.grammar_trial", str(CPU_SECONDS), json.dumps(LIMITS)]
    try:
        trial = subprocess.run(
            command, input=grammar.encode(), capture_output=True, timeout=PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"it is not compiled after {PATIENCE_SECONDS:g} seconds"
    if trial.returncode < 0:
        return f"compiling it takes more than {CPU_SECONDS} seconds, or too much memory"
    return trial.stdout.decode() if trial.returncode == 0 else "compiling it failed"


def _words(tokenizer: TextTokenizer, vocab_size: int) -> LLTokenizer | None:
    table = tokenizer.token_bytes
    if table is None:
        return None
    wrapped = TokenizerWrapper(_Bytes(tokenizer, table, vocab_size))
    return LLTokenizer(wrapped, eos_token=sorted(tokenizer.stop_ids))


def _in_lark(format_: OutputFormat, alphabet: Iterable[str]) -> str:
    """The grammar as text; an expression keeps to the alphabet, so that no answer is led to a dead end."""
    head = '%llguidance {"no_forcing": true}\n'
    if isinstance(format_, JsonSchema):
        return f"{head}start: {_of_schema(format_)}\n"
    letters = "".join(f"\\x{{{ord(letter):X}}}" for letter in sorted(alphabet))
    bounds = f" & /[{letters}]*/" if letters else ""
    if isinstance(format_, ToolCalls):
        return head + _of_calls(format_, bounds)
    return f"{head}start: ANSWER\nANSWER: /{regex_to_lark(format_.pattern, 'dw')}/{bounds}\n"


def _of_schema(format_: JsonSchema) -> str:
    return f"%json {json.dumps({**format_.schema, 'x-guidance': _WRITTEN_AS})}"


def _of_calls(format_: ToolCalls, bounds: str) -> str:
    """A call, or a text that cannot be taken for one from its first character on."""
    calls = " | ".join(f"call_{place}" for place in range(len(format_.tools)))
    text = "" if format_.required else " | text" if format_.otherwise else " | TEXT?"
    lines = [f"start: {calls}{text}"]
    for place, tool in enumerate(format_.tools):
        begin, end = json.dumps(before_arguments(tool.name)), json.dumps(AFTER_ARGUMENTS)
        lines += [
            f"call_{place}: {begin} arguments_{place} {end}",
            f"arguments_{place}: {_of_schema(tool.parameters)}",
        ]
    if format_.otherwise:
        lines.append(f"text: {_of_schema(format_.otherwise)}")
    elif not format_.required:
        lines.append(f"TEXT: /[^{CALL_BEGINS}](?s:.)*/{bounds}")
    return "\n".join([*lines, ""])


def _refusal(format_: OutputFormat, problem: str) -> InvalidInput:
    if isinstance(format_, Regex):
        value, fix = format_.pattern, "use another expression, without look-around and references back"
    elif _OVERLAP in problem:
        value, problem, fix = format_.text, "cases of a oneOf may overlap", "use anyOf"
    else:
        value, fix = format_.text, "use simpler keywords, or another schema"
    return InvalidInput.for_field(format_.field, value[:200], f"cannot be met: {_sentence(problem)}", fix)


def _sentence(problem: str) -> str:
    """llguidance's words without the places in a grammar that nobody sees."""
    if problem in _DEAD_ENDS:
        return "no token of this model leads on"
    told = re.search(r"^error: (.+)$", problem, re.MULTILINE)
    return told[1] if told else _PLACE.sub("", problem.strip().split("\n")[0])
