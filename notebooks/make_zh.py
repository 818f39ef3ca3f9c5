"""Write the Chinese notebooks, zh_NN_name.ipynb: the English ones with the prose of zh/NN_name.md.

python notebooks/make_zh.py

The prose has one section for each text cell of the English notebook, under a line with the cell's id:

    <!-- cell-03 -->

Code cells and outputs are those of the English notebook. So both languages compute the same, and a Chinese
notebook needs no run of its own. It lies beside the English one because its code reads the same files.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

COURSE = Path(__file__).parent
MARK = re.compile(r"^<!-- (cell-[\w-]+) -->\n", re.MULTILINE)


def sections(prose: str) -> dict[str, str]:
    """The sections of a file of prose by the ids of their cells."""
    _, *parts = MARK.split(prose)
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def chinese(notebook: Path) -> str:
    """The Chinese twin of an English notebook, as the text of an .ipynb file.

    Raises ValueError if the prose does not have one section for each text cell, in order.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    prose = COURSE / "zh" / f"{notebook.stem}.md"
    found = sections(prose.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "markdown"]
    expected = [cell["id"] for cell in cells]
    if list(found) != expected:
        missing = ", ".join(name for name in expected if name not in found) or "none"
        left_over = ", ".join(name for name in found if name not in expected) or "none"
        raise ValueError(
            f"zh/{prose.name}: missing sections: {missing}; left over: {left_over}; order: {expected}"
        )
    for cell in cells:
        cell["source"] = found[cell["id"]].splitlines(keepends=True)
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def translated() -> list[Path]:
    """The English notebooks that have Chinese prose."""
    return [COURSE / f"{prose.stem}.ipynb" for prose in sorted((COURSE / "zh").glob("*.md"))]


def main() -> int:
    """Write what can be written; name the notebooks whose prose lacks a section."""
    wrong = 0
    for notebook in translated():
        try:
            (COURSE / f"zh_{notebook.name}").write_text(chinese(notebook), encoding="utf-8")
        except ValueError as error:
            wrong += 1
            print(error)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
