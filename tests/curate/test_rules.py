import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pretrain.curate import expressions, funnel, judge, rules, signals
from pretrain.errors import RecipeError

DOCUMENT = Path(__file__).parents[2] / "docs" / "RULES.md"


def columns(**values):
    n = len(next(iter(values.values())))
    return {name: np.zeros(n) for name in rules.SIGNALS} | {
        name: np.asarray(value) for name, value in values.items()
    }


def kept(expression, **values):
    assert rules.fault(expression) == ""
    return rules.Rule("test", expression).keeps(columns(**values)).tolist()


def words(n, word="word"):
    return [f"{word}{i}" for i in range(n)]


def join(n_bad, bad, n_good, good="good words here now"):
    return "\n".join([bad] * n_bad + [good] * n_good)


def repeated(n_chars, chars_kept=1000):
    """A text of `chars_kept` characters of which one line, met twice, has n_chars."""
    line = "r" * n_chars
    return line + "\n" + "f" * (chars_kept - 2 * n_chars - 2) + "\n" + line


def grams(n, share):
    """10,000 characters with one n-gram of n letters apart from its two occurrences unique."""
    length = round(10_000 * share)
    words_ = [chr(97 + i) * (length // n) for i in range(n - 1)]
    words_.append("z" * (length - sum(map(len, words_))))
    gram = " ".join(words_)
    rest = 10_000 - 2 * len(gram) - 2
    return gram + " " + "f" * rest + " " + gram


def top(n, share):
    """10,000 characters, two occurrences of an n-gram whose characters and spaces are `share`."""
    length = round(10_000 * share / 2)
    words_ = [chr(97 + i) * ((length - n + 1) // n) for i in range(n - 1)]
    words_.append("z" * (length - (n - 1) - sum(map(len, words_))))
    gram = " ".join(words_)
    assert len(gram) == length
    return gram + " " + "f" * (10_000 - 2 * length - 2) + " " + gram


# rule -> (text just inside its threshold, text just outside).
VECTORS = {
    "gopher_quality": {
        "min_words": (" ".join(words(50)), " ".join(words(49))),
        "max_words": ("a " * 100_000, "a " * 100_001),
        "min_mean_word_length": ("abc " * 9, "abc " * 9 + "ab"),
        "max_mean_word_length": ("abcdefghij " * 9, "abcdefghij " * 9 + "abcdefghijk"),
        "max_hashes": ("# " + "a " * 9, "# " + "a " * 8),
        "max_ellipses": ("a... " + "a " * 9, "a… " + "a " * 8),
        "max_bullet_lines": (join(9, "- x", 1), join(10, "• x", 1)),
        "max_ellipsis_lines": (join(3, "so...", 7), join(4, "so…", 7)),
        "min_alphabetic_words": ("a b c d 5", "a b c d 5 6"),
        "min_stop_words": ("The end of it", "the the the"),
    },
    "gopher_repetition": {
        "max_duplicate_lines": (
            "\n".join(["same"] * 4 + words(6)), "\n".join(["same"] * 5 + words(7))
        ),
        "max_duplicate_paragraphs": (
            "\n\n".join(["same"] * 4 + words(6)), "\n\n".join(["same"] * 5 + words(7))
        ),
        "max_duplicate_line_chars": (repeated(200), repeated(201)),
        "max_duplicate_paragraph_chars": (
            repeated(199).replace("\n", "\n\n"), repeated(202).replace("\n", "\n\n")
        ),
        **{
            f"max_top_{n}gram_chars": (top(n, share), top(n, share + 0.0002))
            for n, share in ((2, 0.20), (3, 0.18), (4, 0.16))
        },
        **{
            f"max_duplicate_{n}gram_chars": (grams(n, share), grams(n, share + 0.0001))
            for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
        },
    },
    "c4": {
        "min_sentences": ("He is here. " * 5, "He is here. " * 4),
        "max_lorem_ipsum": ("lorem, ipsum", "Lorem ipsum"),
        "max_curly_brackets": ("}", "{"),
    },
    "fineweb": {
        "min_terminal_lines": (join(12, "a.", 88, "a"), join(11, "a.", 89, "a")),
        "max_short_lines": (
            join(67, "a" * 30, 33, "a" * 31), join(68, "a" * 30, 32, "a" * 31)
        ),
        "max_duplicate_line_chars": (repeated(10, 1002), repeated(11, 1002)),
        "max_newlines": ("a b c d\ne f g\nh i\nj", "a b c d\ne f g\nh i\n\nj"),
    },
    "code": {
        "max_mean_line_length": ("x" * 100 + "\n" + "y" * 100, "x" * 100 + "\n" + "y" * 101),
        "max_line_length": ("x" * 1000, "x" * 1001),
        "min_alphanumeric": ("a1++++++", "a1+++++++"),
    },
    "mc4": {"min_long_lines": (join(3, "x" * 200, 1, "y" * 199), join(2, "x" * 200, 9, "y"))},
    "dolma": {
        "min_median_word_length": ("abc abc ab", "ab ab abc"),
        "max_median_word_length": ("abcdefghij ab", "abcdefghijk ab abcdefghijk"),
        "max_symbols": ("# " + "a " * 9, "a# b… " + "a " * 17),
        "min_stop_words": ("the the", "the end"),
        "max_duplicate_line_chars": (repeated(300), repeated(301)),
    },
    "nemo": {
        "max_non_alphanumeric": ("abc-", "abc- "),
        "max_digits": ("a" * 17 + "123", "a" * 16 + "123"),
        "max_urls": ("http://a.b" + " " * 40, "http://a.bc" + " " * 40),
        "max_whitespace": ("abc ", "ab "),
        "max_parentheses": ("(abcdefghi", "(abcdefgh"),
        "max_policy_paragraphs": (
            "use cookies\n\n" * 2 + "a\n\n" * 3, "privacy overview\n\n" * 3 + "a\n\n" * 4
        ),
        "min_terminal_lines": (join(15, "a.", 85, "a"), join(14, "a.", 86, "a")),
        "max_word_length": ("x" * 1000, "x" * 1001),
    },
}  # fmt: skip
# Presets share rules: what one text shows for one of them it shows for the others.
SHOWN = {
    expression.format(threshold): VECTORS[s][r]
    for s, table in rules.PRESETS.items()
    for r, (expression, threshold) in table.items()
    if r in VECTORS.get(s, {})
}
NOT_OF_A_TEXT = ("removed_word_fraction",)  # lines.py knows it


def presets():
    return [
        (s, r)
        for s, table in rules.PRESETS.items()
        for r, (expression, _) in table.items()
        if not expression.startswith(NOT_OF_A_TEXT)
    ]


@pytest.mark.parametrize(("set_name", "name"), presets())
def test_preset_rule_keeps_just_inside_and_removes_just_outside(set_name, name):
    expression, threshold = rules.PRESETS[set_name][name]
    inside, outside = SHOWN[expression.format(threshold)]
    measured = signals.measure(pa.array([inside, outside], pa.large_string()))
    (rule,) = [
        r for r in rules.compile_rules({set_name: {}}, [set_name]) if r.name == f"{set_name}.{name}"
    ]
    assert rule.keeps(measured).tolist() == [True, False]


def test_every_preset_expression_is_a_rule():
    for table in rules.PRESETS.values():
        for expression, threshold in table.values():
            assert rules.fault(expression.format(threshold)) == ""


def test_empty_text_never_warns_and_is_removed_by_the_word_count():
    measured = signals.measure(pa.array([""], pa.large_string()))
    measured["removed_word_fraction"] = np.zeros(1)
    chosen = rules.compile_rules({name: {} for name in rules.PRESETS}, list(rules.PRESETS))
    removes, first = rules.judge(chosen, measured)
    assert chosen[first[0]].name == "gopher_quality.min_words"
    assert removes.shape == (len(chosen), 1)


def test_arithmetic_and_logic_as_python_does():
    a, b = [0.0, 1, 2, 3, 50], [1.0, 1, 5, 2, 60]
    for expression in (
        "n_words >= 2", "1 <= n_words < 3", "n_words + n_lines * 2 - 3 > 4",
        "-n_words < -1 or not n_lines == 1", "n_words == n_lines and n_words != 2",
        "(n_words > 2) or n_lines / 2 > +1.5",
        "n_words < n_lines <= 60 and not (n_words < 1 or 0 > 1)",
        "1 < 2",
    ):  # fmt: skip
        expected = [
            eval(expression, {"n_words": x, "n_lines": y}) for x, y in zip(a, b, strict=True)
        ]
        assert kept(expression, n_words=a, n_lines=b) == expected, expression


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("n_chars / n_words < 5", [False, True]),
        ("not n_chars / n_words < 5", [False, False]),
        ("n_chars / n_words > -1", [False, True]),
        ("n_words / n_words != 1", [False, False]),
        ("n_words == 0 or n_chars / n_words < 5", [True, True]),
        ("not (n_words > 0 and n_chars / n_words > 5)", [True, True]),
        ("n_words >= 0 and n_chars / n_words < 5", [False, True]),
        ("0 < n_chars / n_words < 5", [False, True]),
        ("1 / 0 < 5", [False, False]),
    ],
)
def test_a_document_on_which_a_rule_is_undefined_is_removed(expression, expected):
    assert kept(expression, n_chars=[8.0, 8.0], n_words=[0, 2]) == expected


BAD = {
    "n_wrods > 3": "did you mean 'n_words'",
    "n_words": "must be true or false",
    "not n_words": "must be true or false",
    "n_words > 3 and 1": "must be true or false",
    "(n_words > 3) + 1 > 2": "must be a number",
    "-(n_words > 3) < 0": "must be a number",
    "__import__('os').system('true') == 0": "is not allowed",
    "n_words.real > 1": "'n_words.real' is not allowed",
    "n_words[0] > 1": "is not allowed",
    "n_words > 'a'": "''a'' is not allowed",
    "n_words > 1j": "'1j' is not allowed",
    "n_words > True": "'True' is not allowed",
    "n_words > 1e999": "is not allowed",
    "n_words > " + "9" * 400: "is not allowed",
    "n_words % 2 == 0": "'n_words % 2' is not allowed",
    "n_words ** 2 > 0": "is not allowed",
    "n_words in (1, 2)": "is not allowed",
    "n_words is 1": "is not allowed",
    "~n_words > 1": "is not allowed",
    "[n_words > 1]": "is not allowed",
    "lambda: n_words > 1": "is not allowed",
    "n_words > 1 if n_lines > 1 else n_words > 2": "is not allowed",
    "(x := n_words) > 1": "is not allowed",
    "n_words > 1)or(n_words > 2": "not an expression",
    "n_words > 3 # half\nand n_lines > 2": "comments",
    "": "not an expression",
    "n_words = 3": "not an expression",
    "1or 2": "must be true or false",
    "n_words > \0": "not an expression",
    "\ud800 > 1": "not an expression",
    "-" * 900 + "1 > 0": "nested more than 40 deep",
    "(" * 300 + "1" + ")" * 300: "not an expression",
    "n_words > 1" + " + 1" * 400: "characters, more than 1000",
}


@pytest.mark.parametrize("expression", BAD)
def test_nothing_but_the_safe_subset(expression):
    assert BAD[expression] in rules.fault(expression)


def problem(table):
    ((key, what, must),) = rules.problems(table)
    with pytest.raises(RecipeError, match=key.replace(".", r"\.")):
        rules.compile_rules(table, list(table))
    return key, what, must


def test_problems_name_the_key_and_the_nearest():
    key, what, _ = problem({"gopher_quality": {"min_wrods": 3}})
    assert key == "rules.gopher_quality.min_wrods"
    assert "did you mean 'min_words'" in what
    key, what, _ = problem({"gophr_quality": {}})
    assert key == "rules.gophr_quality"
    assert "did you mean 'gopher_quality'" in what
    key, what, _ = problem({"gophr_quality": {"min_words": 3}})
    assert key == "rules.gophr_quality.min_words"
    assert "did you mean 'gopher_quality'" in what
    key, what, _ = problem({"mine": {"rule": "n_word > 3"}})
    assert key == "rules.mine.rule"
    assert "did you mean 'n_words'" in what
    for number in (float("nan"), float("inf"), True):
        assert problem({"c4": {"min_sentences": number}})[2] == "a finite number"


@pytest.mark.parametrize("name", [*sorted(rules.STEPS), "lines.mine", ""])
def test_a_set_named_as_a_step_would_be_counted_as_that_step(name):
    ((key, _, must),) = rules.problems({name: {"rule": "n_words > 3"}})
    assert key == f"rules.{name}"
    assert "no step" in must


def test_the_steps_of_the_funnel_are_sets_of_rules_or_steps_by_name():
    arguments = {"drop_kinds": ["email"]}
    ruled = rules.compile_rules({"mine": {"rule": "n_words > 3"}}, ["mine"])
    found = funnel.step_names([*judge.reasons(arguments, ruled), *rules.TWINS], True)
    assert set(found) | {rules.NOTHING_LEFT} == rules.STEPS | {"mine"}
    assert not rules.STEPS & set(rules.PRESETS)


def test_good_tables_have_no_problems():
    table = {
        "gopher_quality": {"min_words": 20, "own": "n_lines > 2", "max_words": "n_words < 9"},
        "mine": {"rule": "n_words > 3"},
        "c4": {},
    }
    assert list(rules.problems(table)) == []


def test_rules_are_compiled_in_order_with_thresholds_filled_in():
    table = {
        "c4": {"min_sentences": 3.0, "own": "n_lines > 2\n  and n_words > 1"},
        "fineweb": {"max_newlines": "newline_per_word < 1", "max_short_lines": 0.5},
        "mine": {"short": "n_words < 9"},
    }
    compiled = rules.compile_rules(table, ["mine", "c4", "fineweb"])
    assert [(r.name, r.expression) for r in compiled] == [
        ("mine.short", "n_words < 9"),
        ("c4.min_sentences", "c4_sentences >= 3"),
        ("c4.max_lorem_ipsum", "has_lorem_ipsum <= 0"),
        ("c4.max_curly_brackets", "has_curly_bracket <= 0"),
        ("c4.own", "n_lines > 2 and n_words > 1"),
        ("fineweb.min_terminal_lines", "terminal_line_fraction >= 0.12"),
        ("fineweb.max_short_lines", "short_line_fraction <= 0.5"),
        ("fineweb.max_duplicate_line_chars", "duplicate_line_char_share <= 0.01"),
        ("fineweb.max_newlines", "newline_per_word < 1"),
    ]
    with pytest.raises(RecipeError, match=r"no rule set 'c5' \(did you mean 'c4'"):
        rules.compile_rules(table, ["c5"])


def test_judge_tells_what_each_rule_removes_and_which_was_first():
    chosen = [rules.Rule("a", "n_words > 1"), rules.Rule("b", "n_lines > 1")]
    removes, first = rules.judge(chosen, columns(n_words=[0, 0, 5, 5], n_lines=[0, 5, 0, 5]))
    assert removes.tolist() == [[True, True, False, False], [True, False, True, False]]
    assert first.tolist() == [0, 0, 1, -1]
    removes, first = rules.judge([], columns(n_words=[1, 2]))
    assert removes.shape == (0, 2)
    assert first.tolist() == [-1, -1]


def test_the_recipe_check_imports_no_heavy_library():
    program = (
        "import sys; from pretrain.curate import rules; "
        "list(rules.problems({'c4': {'min_sentences': 3, 'own': 'n_words > 3'}})); "
        "sys.exit(any(m in sys.modules for m in ('numba', 'numpy', 'pyarrow', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_the_document_has_every_signal_and_every_preset_rule_with_its_threshold():
    text = DOCUMENT.read_text()
    for name, meaning in rules.SIGNALS.items():
        assert f"| `{name}` | {meaning} |" in text
    for set_name, table in rules.PRESETS.items():
        section = text.partition(f"### `{set_name}`")[2].partition("\n### ")[0]
        for rule, (expression, threshold) in table.items():
            assert f"| `{rule}` | `{expression.format(threshold)}` |" in section


def test_labels_are_compared_with_texts() -> None:
    language = np.array(["en", "de", None], object)
    assert kept('language == "de"', language=language, n_words=[1, 1, 1]) == [False, True, False]
    assert kept("language != 'de'", language=language, n_words=[1, 1, 1]) == [True, False, True]
    assert kept("not (language == 'en' and n_words < 5)", language=language, n_words=[1, 1, 1]) == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("language", "can only be compared with a text"),
        ("language == 3", "can only be compared with a text"),
        ("language < 'de'", "can only be compared"),
        ("n_words == 'de'", "is not allowed"),
        ("languag == 'de'", "did you mean 'language'"),
        ("'de' == language", "is not allowed"),
        ("quality_web > 0.5", "no signal 'quality_web'"),
    ],
)
def test_labels_and_texts_are_nothing_else(expression, why) -> None:
    assert why in expressions.fault(expression)


def test_a_recipe_may_have_signals_of_its_own() -> None:
    table = {"house": {"good": "quality_web > 0.5"}}
    assert list(rules.problems(table))
    assert not list(rules.problems(table, ["quality_web"]))
    (rule,) = rules.compile_rules(table, ["house"], ["quality_web"])
    assert rule.keeps({"quality_web": np.array([0.4, 0.6])}).tolist() == [False, True]


def test_the_signals_of_an_expression_are_named_once_and_in_order() -> None:
    expression = "n_words > 3 and not (language == 'de' and n_lines / n_words < 2)"
    assert rules.signals_of(expression) == ["n_words", "language", "n_lines"]


def test_a_rule_s_version_changes_with_what_it_says_and_how_it_is_counted() -> None:
    rule = rules.Rule("a.b", "n_words >= 50")
    versions = {
        rule.version("pretrain"),
        rule.version("datatrove"),
        rules.Rule("a.b", "n_words >= 51").version("pretrain"),
        rules.Rule("a.b", "n_words > 50").version("pretrain"),
    }
    assert len(versions) == 4
    assert rules.Rule("c.d", "n_words  >=\n50").version("pretrain") == rule.version("pretrain")
    assert all(len(version) == 8 for version in versions)
