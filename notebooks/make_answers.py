"""Write the page of the 32 questions: answers.md and, in Chinese, answers.zh-CN.md.

python notebooks/make_answers.py

First the answers in one sentence, as they are folded away in the notebooks; then for each question the cell
and the number that assert its answer, and its self-test.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import NamedTuple

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
PROOFS = {
    "en": """
## Where each answer is asserted

The number is the one that the notebook asks you to guess. If it leaves its range, running the notebook fails.
`01.3` is the third question of the self-test at the end of notebook 01.

| | notebook | cell | a number, and its range | numbers asserted | self-test |
| --- | --- | --- | --- | --- | --- |
""",
    "zh": """
## 每个答案由什么来断言

这里的数就是笔记本请你猜的那个；它一旦跑出范围，运行笔记本就会报错。`01.3` 是笔记本 01 末尾自测的第三题。

| | 笔记本 | 单元格 | 一个数和它的范围 | 断言的个数 | 自测题 |
| --- | --- | --- | --- | --- | --- |
""",
}


class Proof(NamedTuple):
    """What holds the answer to a question: cell [k] of a notebook prints `line`; and its self-tests."""

    question: int
    notebook: str
    cell: int
    line: str
    numbers: int
    self_tests: list[str]


def cells_of(notebook: Path) -> list[dict]:
    """The cells of a notebook, each with its source as one string."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def answers(notebook: Path) -> list[tuple[int, str, str, str]]:
    """(number, question, the first folded answer below it, notebook), for each question of a notebook."""
    found, waiting = [], []
    for cell in cells_of(notebook):
        source = cell["source"]
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


def guessed(cells: list[dict]) -> set[tuple[str, str]]:
    """What the notebook asks its reader to guess: the first two arguments of the calls of `guess`."""
    nodes = [
        node for cell in cells if cell["cell_type"] == "code" for node in ast.walk(ast.parse(cell["source"]))
    ]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ast.unparse(n.func).split(".")[-1] == "guess"]
    return {tuple(ast.literal_eval(argument) for argument in call.args[:2]) for call in calls}


def printed(cell: dict) -> str:
    """What a cell has printed."""
    streams = [o for o in cell.get("outputs", []) if o.get("name") == "stdout"]
    return "".join("".join(o["text"]) for o in streams)


def proofs(notebook: Path) -> list[Proof]:
    """For each question of a notebook the number to guess, or the first that is asserted. By question."""
    cells = cells_of(notebook)
    lines: dict[int, list[tuple[int, str, str]]] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            for n, what, rest in re.findall(
                r"^Q(\d+)  (.+)(: \S+  \((?:held in|exactly) .+\))$", printed(cell), re.M
            ):
                lines.setdefault(int(n), []).append((cell["execution_count"], what, rest))
    (test,) = [cell["source"] for cell in cells if cell["id"] == "cell-self-test"]
    tags = re.findall(r"^\*\*(\d)\.\*\* [（(](Q.+?)[)）]", test, re.M)
    found, asked = [], guessed(cells)
    for n in sorted({n for n, *_ in answers(notebook)}):
        asserted = lines[n]
        first = next((row for row in asserted if (f"Q{n}", row[1]) in asked), asserted[0])
        own = [number for number, named in tags if n in map(int, re.findall(r"\d+", named))]
        found.append(
            Proof(n, notebook.name, first[0], first[1] + first[2].replace("  ", " "), len(asserted), own)
        )
    return found


def page(language: str = "en") -> str:
    """The text of the page, in "en" or "zh"."""
    notebooks = sorted(COURSE.glob(PAGES[language][1]))
    rows = sorted(row for notebook in notebooks for row in answers(notebook))
    text = HEADS[language] + "".join(
        f"| Q{n} | [{question}]({home}) | {answer} |\n" for n, question, answer, home in rows
    )
    text += PROOFS[language]
    for proof in sorted(proof for notebook in notebooks for proof in proofs(notebook)):
        name = re.sub(r"\D*(\d\d)_.*", r"\1", proof.notebook)
        tests = (", " if language == "en" else "、").join(f"{name}.{number}" for number in proof.self_tests)
        line = proof.line.replace("|", "\\|")  # it stands in a table
        text += f"| Q{proof.question} | [{name}]({proof.notebook}) | `[{proof.cell}]` | `{line}` "
        text += f"| {proof.numbers} | {tests} |\n"
    return text


if __name__ == "__main__":
    for language, (name, _) in PAGES.items():
        (COURSE / name).write_text(page(language), encoding="utf-8")
