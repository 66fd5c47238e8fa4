"""Searching people by name: pinyin initials."""

from pypinyin import Style, lazy_pinyin

MAX_INITIALS = 32


def pinyin_initials(name: str) -> str:
    """First letter of each character's pinyin: 王小东 gives wxd; other letters and digits stay."""
    syllables = lazy_pinyin(name, style=Style.FIRST_LETTER, errors="default")
    letters = "".join(syllables).lower()
    return "".join(letter for letter in letters if letter.isascii() and letter.isalnum())[:MAX_INITIALS]
