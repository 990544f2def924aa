"""`python -m facellm`: see `facellm.cli`."""

import sys

from facellm.cli import main

if __name__ == "__main__":
    sys.exit(main())
