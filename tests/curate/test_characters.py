import unicodedata

import numpy as np

from pretrain.curate import characters as c


def test_every_class_is_python_s_own():
    table = c.property_table()
    assert len(table) == c.TABLE_END
    for code in range(c.TABLE_END):
        character, flags = chr(code), int(table[code])
        category = unicodedata.category(character)
        assert bool(flags & c.LETTER) == character.isalpha(), hex(code)
        assert bool(flags & c.DIGIT) == character.isdecimal(), hex(code)
        assert bool(flags & c.SPACE) == character.isspace(), hex(code)
        assert bool(flags & c.UPPER) == (category == "Lu"), hex(code)
        assert bool(flags & c.LOWER) == (category == "Ll"), hex(code)
        assert bool(flags & c.SYMBOL) == (category[0] in "PS"), hex(code)
        assert bool(flags & c.CONTROL) == (category == "Cc" and character not in "\t\n\r")


def test_letters_above_the_table_are_what_unicode_has_there_and_nothing_else_is():
    for code in range(c.TABLE_END, 0x110000):
        if chr(code).isalpha():
            assert code < c.LETTERS_ABOVE_END, hex(code)
        assert not chr(code).isspace()
        assert not chr(code).isdecimal()


def test_listed_marks_carry_their_flag_and_no_other_character_does():
    table = c.property_table()
    for marks, flag in (
        (c.ENDERS, c.ENDER),
        (c.WIDE_ENDERS, c.WIDE_ENDER),
        (c.CLOSERS, c.CLOSER),
        (c.BULLETS, c.BULLET),
        (c.BRACKETS, c.BRACKET),
        (c.PLAINS, c.PLAIN),
        (c.ENDERS + c.WIDE_ENDERS + c.QUOTES, c.TERMINAL),
    ):
        assert {chr(i) for i in np.flatnonzero(table & flag)} == set(marks)


# What the name of a letter begins with tells its script.
NAMES = {
    "latin": ("LATIN ", "FULLWIDTH LATIN"),
    "cyrillic": ("CYRILLIC ",),
    "greek": ("GREEK ",),
    "arabic": ("ARABIC ",),
    "hebrew": ("HEBREW ",),
    "devanagari": ("DEVANAGARI ",),
    "hangul": ("HANGUL ", "HALFWIDTH HANGUL"),
    "thai": ("THAI ",),
    "lao": ("LAO ",),
    "khmer": ("KHMER ",),
    "burmese": ("MYANMAR ",),
    "han": ("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ITERATION"),
    "hiragana": ("HIRAGANA ",),
    "katakana": ("KATAKANA", "HALFWIDTH KATAKANA"),
}


def test_scripts_are_those_that_the_letters_are_named_for():
    table = c.script_table()
    assert not table[:128].any()
    wrong = 0
    for code in np.flatnonzero(table).tolist():
        name, script = unicodedata.name(chr(code), ""), c.SCRIPTS[table[code] & c.SCRIPT]
        assert unicodedata.category(chr(code)) in {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc"}
        wrong += not name.startswith(NAMES[script])
    assert wrong < 0.005 * np.count_nonzero(table)  # modifier letters and the like within blocks


def test_scripts_without_spaces_are_the_last_ones():
    assert c.SCRIPTS[c.UNSEGMENTED :] == (
        "thai", "lao", "khmer", "burmese", "han", "hiragana", "katakana",
    )  # fmt: skip
    assert (c.SCRIPTS[c.HAN], c.SCRIPTS[c.HIRAGANA], c.SCRIPTS[c.KATAKANA]) == c.SCRIPTS[-3:]
    assert c.SCRIPTS[c.KHMER] == "khmer"


def test_the_tables_are_built_once_and_cannot_be_changed():
    for table in (c.property_table, c.script_table):
        assert table() is table()
        assert not table().flags.writeable
