"""Write the 32 answers in one sentence each, as they are folded away in the notebooks: answers.md and, in
Chinese, answers.zh-CN.md.

python notebooks/make_answers.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

COURSE = Path(__file__).parent
PAGES = {"en": ("answers.md", "[0-9]*.ipynb"), "zh": ("answers.zh-CN.md", "zh_*.ipynb")}
HEADS = {
    "en": """# The 32 answers, in one sentence each

Cover the right column, and ask yourself. (The page is made from the notebooks by `make_answers.py`.)

| | question | answer |
| --- | --- | --- |
""",
    "zh": """# 32 个问题的一句话答案

盖住右边一列，考考自己。（本页由 `make_answers.py` 从笔记本生成。）

| | 问题 | 答案 |
| --- | --- | --- |
""",
}


def answers(notebook: Path) -> list[tuple[int, str, str, str]]:
    """(number, question, the first folded answer below it, notebook), for each question of a notebook."""
    found, waiting = [], []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.startswith("## "):
            heading = source.split("\n")[0].removeprefix("## ")
            numbers = [int(n) for n in re.findall(r"\bQ(\d+)\b", heading)]
            question = re.sub(r"^Q\d+( (and|和) Q\d+)* ", "", heading)
            waiting = [(n, question) for n in numbers]
        folded = re.search(r"<details>.*</summary>\n\n(.+)\n\n</details>", source)
        if folded and waiting:
            found += [(n, question, folded[1], notebook.name) for n, question in waiting]
            waiting = []
    return found


def page(language: str = "en") -> str:
    """The text of the page of answers, in "en" or "zh"."""
    notebooks = sorted(COURSE.glob(PAGES[language][1]))
    rows = sorted(row for notebook in notebooks for row in answers(notebook))
    return HEADS[language] + "".join(
        f"| Q{n} | [{question}]({home}) | {answer} |\n" for n, question, answer, home in rows
    )


if __name__ == "__main__":
    for language, (name, _) in PAGES.items():
        (COURSE / name).write_text(page(language), encoding="utf-8")
