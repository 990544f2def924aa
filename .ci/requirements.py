"""Writes requirements*.txt from pyproject.toml, and constraints.txt from the environment that runs it.

`python .ci/requirements.py` writes the requirements, `--constraints` the versions that are installed here, `--check`
says which file differs and exits with 1. Needs Python 3.11 or newer, and nothing else.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parents[1]
HEAD = "# Written from pyproject.toml by `make requirements`; edit that file.\n"


def requirements() -> dict[str, str]:
    """Returns the text of each requirements file by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: [r for r in rows if not r.startswith("facellm[")]
              for name, rows in project["optional-dependencies"].items()}  # fmt: skip
    runtime = list(dict.fromkeys(project["dependencies"] + extras["demo"] + extras["serve"]))
    train = [row for row in extras["train"] if row not in runtime]
    return {
        "requirements.txt": HEAD + "\n".join(runtime) + "\n",
        "requirements-train.txt": HEAD + "-r requirements.txt\n" + "\n".join(train) + "\n",
        "requirements-dev.txt": HEAD + "-r requirements-train.txt\n" + "\n".join(extras["dev"]) + "\n",
    }


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!~;\[]", requirement, maxsplit=1)[0]).lower()


def constraints() -> str:
    """Returns `name==version` of everything that the requirements bring, as installed here."""
    installed = {_name(d.metadata["Name"]): d for d in metadata.distributions()}
    rows = "".join(text for text in requirements().values()).splitlines()
    queue = [_name(row) for row in rows if row and row[0] not in "#-"]
    found: dict[str, str] = {}
    while queue:
        name = queue.pop()
        if name in found or name not in installed:
            continue
        found[name] = installed[name].version.split("+")[0]
        queue += [_name(row) for row in installed[name].requires or () if "extra ==" not in row]
    head = "# The versions that the tests last passed with, written by `make constraints` on Linux.\n"
    return head + "".join(f'{name}=={found[name]} ; python_version >= "3.11"\n' for name in sorted(found))


def main() -> int:
    """Writes or checks; see the module's docstring."""
    if "--constraints" in sys.argv:
        (ROOT / "constraints.txt").write_text(constraints())
        return 0
    differing = [name for name, text in requirements().items() if (ROOT / name).read_text() != text]
    if "--check" in sys.argv:
        for name in differing:
            print(f"{name} differs from pyproject.toml: run `make requirements`.", file=sys.stderr)
        return bool(differing)
    for name, text in requirements().items():
        (ROOT / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
