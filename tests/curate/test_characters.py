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
        (c.ENDERS + c.WIDE_ENDERS + c.QUOTES, c.TERMINAL),
        (c.ENDERS + c.WIDE_ENDERS + c.CLOSERS + c.COUNTED + c.ANCHORS, c.NOTED),
    ):
        assert {chr(i) for i in np.flatnonzero(table & flag)} == set(marks)


def test_the_table_is_built_once_and_cannot_be_changed():
    assert c.property_table() is c.property_table()
    assert not c.property_table().flags.writeable
