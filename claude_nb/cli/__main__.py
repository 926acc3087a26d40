"""`python -m claude_nb.cli`, for where the environment's programs are not on the PATH."""

import sys

from claude_nb.cli import main

if __name__ == "__main__":
    sys.exit(main())
