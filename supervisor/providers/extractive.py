"""Which sentences of a text say most about it."""

from __future__ import annotations

import re
from collections import Counter

import msgspec

SENTENCES_MAX = 12
"""A summary longer than this is no summary."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"\w+")
_LETTERS_MIN = 3
# Words that say nothing about the text. English, as most prompts are; another language's own are
# frequent in every sentence alike, so that they move the scores little.
_FILLERS = frozenset(
    re.findall(
        r"\w+",
        """about after all also and any are been before but can could did does for from had has
        have her his how into its just like may more most not now off one only other our out over
        please she should some such than that the their them then there these they this those
        through use was were what when where which while who will with would you your""",
    )
)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The sentences picked, in the order of the text; `was_cut` where the words ran out."""

    sentences: tuple[str, ...]
    was_cut: bool


def summarize(text: str, *, words_max: int) -> Summary:
    """Pick the sentences with the most frequent words, at most a fifth of them, within the words.

    The same text gives the same summary. A sentence scores the sum of its distinct words'
    frequencies over the square root of its length, so that long ones don't win by length alone
    (Luhn 1958, with SumBasic's frequencies). The cost is linear in the text.
    """
    sentences = _sentences(text)
    frequencies = Counter(word for sentence in sentences for word in _telling_words(sentence))
    ranked = sorted(
        range(len(sentences)),
        key=lambda place: (-_score(sentences[place], frequencies), place),
    )
    wanted = min(SENTENCES_MAX, max(3, len(sentences) // 5))
    picked, was_cut = _within(words_max, [(place, sentences[place]) for place in ranked[:wanted]])
    return Summary(sentences=tuple(picked[place] for place in sorted(picked)), was_cut=was_cut)


def word_count(text: str) -> int:
    """Return the words of `text`, which are what the whitespace parts."""
    return len(text.split())


def first_words(text: str, words_max: int) -> str:
    """Return the first words of `text`, joined by single blanks."""
    return " ".join(text.split()[: max(words_max, 0)])


def _within(words_max: int, ranked: list[tuple[int, str]]) -> tuple[dict[int, str], bool]:
    """Return the best sentences that fit, by place; the very best is cut where it does not."""
    picked: dict[int, str] = {}
    left = max(words_max, 0)
    was_cut = False
    for place, sentence in ranked:
        words = word_count(sentence)
        if words <= left:
            picked[place] = sentence
            left -= words
            continue
        was_cut = True
        if not picked and left:
            picked[place] = first_words(sentence, left)
            left = 0
    return picked, was_cut


def _sentences(text: str) -> list[str]:
    """Return the distinct sentences; a line end parts them too, as in logs and lists."""
    parts = (part.strip() for line in text.splitlines() for part in _SENTENCE_END.split(line))
    return list(dict.fromkeys(part for part in parts if _WORD.search(part)))


def _telling_words(sentence: str) -> set[str]:
    words = {word.lower() for word in _WORD.findall(sentence)}
    return {word for word in words - _FILLERS if len(word) >= _LETTERS_MIN}


def _score(sentence: str, frequencies: Counter[str]) -> float:
    telling = _telling_words(sentence)
    return float(sum(frequencies[word] for word in telling) / max(word_count(sentence), 1) ** 0.5)
