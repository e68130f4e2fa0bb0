"""A process that decodes pictures for another one, because decoders of files from outside may hang or die.

    python -m vermeil_ingest.images.looker '{"sharpness": false, …}'

Reads a line of JSON with the sizes of some pictures, then their bytes; answers each with a line of JSON.
"""

import json
import resource
import sys
import warnings

from vermeil_ingest.images.facts import Looking, answer

_MAX_MEMORY = 8 << 30
"""Address space in bytes; a picture of 33 million pixels needs under 1 GiB."""


def main() -> None:
    """Answer until the other end closes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    looking = Looking.from_json(json.loads(sys.argv[1]))
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while line := source.readline():
        for raw in [source.read(size) for size in json.loads(line)]:
            target.write(json.dumps(answer(raw, looking)).encode() + b"\n")
            target.flush()


if __name__ == "__main__":
    main()
