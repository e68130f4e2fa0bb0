"""The generator's process: what computes answers has a processor's worth of Python to itself, and may die.

Ends by itself when the `vermeil up` that started it is gone.
"""

import sys

import vermeil_generator.__main__

from vermeil_local.orphans import end_with


def main(parent: int) -> int:
    """Answer until told to stop, or until the process `parent` is gone."""
    end_with(parent)
    return vermeil_generator.__main__.main()


if __name__ == "__main__":
    sys.exit(main(parent=int(sys.argv[1])))
