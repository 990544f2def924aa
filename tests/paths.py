"""Where the tests find things in the checkout and beside it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "demo" / "examples"
SHARED = ROOT.parent / "shared"
