"""What a text and its translation into Chinese must have in common, and how Chinese is set."""

import re
from collections import Counter

from course_files import COURSE

ROOT = COURSE.parent
PAGES = [ROOT / "README.md", COURSE / "README.md", ROOT / "docs" / "teaching.md"]
HAN = r"[\u4e00-\u9fff]"
LEADS = {
    "**Predict:**": "**预测：**",
    "**Answer.**": "**回答。**",
    "**Where it stops being true.**": "**什么时候不再成立。**",
    "**You will be able to**": "**你将能够：**",
    "**Time:**": "**时间：**",
    "**Explore:**": "**动手玩：**",
    "<summary>The answer in one sentence<": "<summary>一句话答案<",
    "<summary>Answer<": "<summary>答案<",
    "*Small, ": "（小，",
    "*Medium, ": "（中，",
    "*Large, ": "（大，",
}
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
INDENTED = re.compile(r"^    .*\S", re.MULTILINE)
SPAN = re.compile(r"`[^`]+`")
NUMBER = re.compile(r"\bQ\d+|(?<![A-Za-z_\d])\d+(?:,\d{3})*(?:\.\d+)?")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(path):
    return path.read_text(encoding="utf-8")


def twin(path):
    """The Chinese page of an English one."""
    return path.with_suffix(".zh-CN.md") if path.suffix == ".md" else path.with_name(f"zh_{path.name}")


def facts(text):
    """What a text has in every language, by name. Numbers in words, such as "ten", are words."""
    fenced = FENCED.findall(text)
    text = COMMENT.sub("", FENCED.sub("", text))
    text = re.sub(r"([\d.]+) million", lambda n: f"{float(n[1]) * 100:.0f} 万", text)  # as Chinese counts
    prose = LINK.sub("]", SPAN.sub("", INDENTED.sub("", text)))
    return {
        "headings": re.findall(r"^#+(?= )", prose, re.MULTILINE),
        "numbers": Counter(NUMBER.findall(prose)),
        "code spans": Counter(" ".join(in_english(span).split()) for span in SPAN.findall(text)),
        "code blocks": fenced,
        "indented lines": len(INDENTED.findall(text)),
        "links": Counter(in_english(target.partition("#")[0]) for target in targets(text)),
        "images": text.count("!["),
        "tags": re.findall(r"</?[a-z]+", prose),
        "lists": re.findall(r"^(?:-|\d+\.)(?= )", prose, re.MULTILINE),
        "tables": [line.count("|") for line in prose.split("\n") if line.startswith("|")],
    }


def targets(text):
    return LINK.findall(SPAN.sub("", text))


def in_english(name):
    """The name of the English page for that of the Chinese one."""
    return name.replace(".zh-CN.md", ".md").replace("zh_", "")


def differences(english, chinese):
    """What differs between two texts, besides the words."""
    first, second = facts(english), facts(chinese)
    found = [f"{name}: {only(first[name], second[name])}" for name in first if first[name] != second[name]]
    lines = (INDENTED.findall(FENCED.sub("", text)) for text in (english, chinese))
    for ours, theirs in zip(*lines, strict=False):
        same = symbols(ours) == symbols(theirs) if re.search(HAN, theirs) else ours == theirs
        found += [] if same else [f"line: {ours!r} and {theirs!r}"]
    one_line = " ".join(english.split())
    for lead, translated in LEADS.items():
        if one_line.count(lead) != chinese.count(translated):
            found.append(f"{lead} {one_line.count(lead)}, {translated} {chinese.count(translated)}")
    return found + ([] if re.search(HAN, chinese) else ["no Chinese"])


def only(first, second):
    """What each of two counters has more of; two other things, as they are."""
    if isinstance(first, Counter):
        first, second = dict(first - second), dict(second - first)
    return f"{first} in English, {second} in Chinese"


def symbols(line):
    """The digits and operators of a formula with words in it."""
    return re.findall(r"[\d=+*/^\[\]]", line)


def untidy(text):
    """Places where a Chinese text is not set as Chinese is."""
    text = INDENTED.sub("", COMMENT.sub("", FENCED.sub("", text)))
    found = [bold for line in text.split("\n") for bold in unfinished_bold(line)]
    found += re.findall(rf"(?<!\*)\*(?![\s*])[^*\n]*{HAN}[^*\n]*\*", text)  # Chinese has no italic type
    text = re.sub(r"!?\[|\]|\*|</?\w+>", "", LINK.sub("]", SPAN.sub("x", text)))
    found += re.findall(rf"{HAN}[,;:?!()]|[,;:?!()]{HAN}|{HAN}\.(?!\w)", text)  # the other language's
    return found + re.findall(rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9%]{HAN}|{HAN}\n{HAN}", text)


def unfinished_bold(line):
    """Bold type that ends in punctuation needs a space behind it, or Markdown does not see its end."""
    parts = line.split("**")
    ends = zip(parts[1:-1:2], parts[2::2], strict=False)
    return [
        bold for bold, rest in ends if re.search("[，。：；？！、）”]$", bold) and re.match(r"[^\s|]", rest)
    ]
