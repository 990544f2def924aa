"""`python -m facellm`: see `facellm.cli.main`."""

import sys

from facellm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
