from pretrain.collect import latex_words as words


def test_a_command_has_one_meaning() -> None:
    tables = [words.DROPPED, words.REFERENCES, words.HEADINGS, words.WORDS]
    for number, one in enumerate(tables):
        for other in tables[number + 1 :]:
            assert not set(one) & set(other)
    environments = [words.MATH, words.CODE, words.GONE, words.TABLES, words.THEOREMS]
    for number, one in enumerate(environments):
        for other in environments[number + 1 :]:
            assert not set(one) & set(other)


def test_names_are_without_backslash_and_star() -> None:
    for table in (words.DROPPED, words.REFERENCES, words.HEADINGS, words.WORDS, words.MATH):
        assert all(name.isalpha() for name in table)


def test_encodings_are_known() -> None:
    for encoding in words.ENCODINGS.values():
        assert "a".encode(encoding) == b"a"
