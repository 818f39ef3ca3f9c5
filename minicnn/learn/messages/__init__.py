"""All texts of `minicnn learn`, one file for each language; `tests/test_learn_messages.py` compares them.

A text has a name, and places for values in braces. The file that the learner gets is in `../files`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicnn.learn.messages import en, zh

LANGUAGES: Mapping[str, Mapping[str, str]] = {"en": en.TEXTS, "zh": zh.TEXTS}


class Messages:
    """The texts of one language."""

    language: str

    def __init__(self, language: str) -> None:
        self.language, self._texts = language, LANGUAGES[language]

    def __call__(self, name: str, /, **values: Any) -> str:
        """The text of this name with its values. Raises KeyError if there is no such text."""
        return self._texts[name].format(**values)

    def __contains__(self, name: str) -> bool:
        return name in self._texts
