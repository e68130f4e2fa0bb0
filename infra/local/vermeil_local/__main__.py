"""`python -m vermeil_local`: `vermeil up` in the foreground."""

import sys

from vermeil_errors import VermeilError

from vermeil_local.processors import share_processors
from vermeil_local.settings import LocalSettings


def main() -> int:
    """Run until told to stop."""
    share_processors()
    from vermeil_local.up import run  # noqa: PLC0415 loads every service, and OpenMP

    try:
        run(LocalSettings.load(), print)
    except VermeilError as error:
        sys.stderr.write(f"vermeil: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
