"""The FaceLLM demo from a checkout, as Hugging Face Spaces runs it too: `python app.py`. See demo.cli."""

import sys

from demo.cli import main

if __name__ == "__main__":
    sys.exit(main(prog="app.py"))
