"""A process that compiles one grammar and asks it for a first mask, because that may take for ever.

    python -m vermeil_generator.grammar_trial 2 '{"max_lexer_states": 20000, …}' < GRAMMAR

Writes what is wrong with it. It dies when it has used its seconds of CPU or its memory.
"""

import json
import resource
import sys

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

_MAX_MEMORY = 1 << 30
"""Address space in bytes."""


def main() -> None:
    """Try the grammar of standard input."""
    seconds, limits = int(sys.argv[1]), json.loads(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    grammar = sys.stdin.read()
    matcher = LLMatcher(LLTokenizer("byte"), grammar, log_level=0, limits=LLParserLimits(**limits))
    if not matcher.is_error():
        matcher.compute_logit_bias()
    sys.stdout.write(matcher.get_error())


if __name__ == "__main__":
    main()
