"""Write answers.md: the 32 answers in one sentence each, as they are folded away in the notebooks.

python notebooks/make_answers.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

COURSE = Path(__file__).parent
HEAD = """# The 32 answers, in one sentence each

Cover the right column, and ask yourself. (The page is made from the notebooks by `make_answers.py`.)

| | question | answer |
| --- | --- | --- |
"""


def answers(notebook: Path) -> list[tuple[int, str, str, str]]:
    """(number, question, the first folded answer below it, notebook), for each question of a notebook."""
    found, waiting = [], []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.startswith("## "):
            heading = source.split("\n")[0].removeprefix("## ")
            numbers = [int(n) for n in re.findall(r"\bQ(\d+)\b", heading)]
            question = re.sub(r"^Q\d+( and Q\d+)* ", "", heading)
            waiting = [(n, question) for n in numbers]
        folded = re.search(r"<details>.*</summary>\n\n(.+)\n\n</details>", source)
        if folded and waiting:
            found += [(n, question, folded[1], notebook.name) for n, question in waiting]
            waiting = []
    return found


def page() -> str:
    """The text of answers.md."""
    rows = sorted(row for notebook in sorted(COURSE.glob("[0-9]*.ipynb")) for row in answers(notebook))
    return HEAD + "".join(
        f"| Q{n} | [{question}]({home}) | {answer} |\n" for n, question, answer, home in rows
    )


if __name__ == "__main__":
    (COURSE / "answers.md").write_text(page(), encoding="utf-8")
