"""Rules: expressions over signal columns that are true for a document to keep.

    [curate.rules.gopher_quality]
    min_words = 100                                    # a preset's rule with another threshold
    few_links = "hash_per_word <= 0.05 or n_lines < 3" # a rule of one's own

An expression may use the names in SIGNALS, numbers, + - * /, comparisons (chained ones too), and,
or, not, and parentheses; it ends in true or false. Where a value is undefined (division by zero)
the comparison is neither true nor false, `and`, `or` and `not` carry that on (false and undefined
is false, true or undefined is true), and a document on which the whole is undefined is removed.

No numba, pyarrow or torch here: the recipe check reads this module. Specification: docs/RULES.md.
"""

import ast
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pretrain.errors import recipe_error
from pretrain.settings import nearest

if TYPE_CHECKING:
    import numpy as np

RuleSets = Mapping[str, Mapping[str, float | str]]

# Signal -> what it is. A ratio with nothing to divide by is 0.
SIGNALS: dict[str, str] = {
    "n_bytes": "bytes of UTF-8",
    "n_chars": "characters (code points)",
    "n_words": "words",
    "n_lines": "lines",
    "n_paragraphs": "paragraphs",
    "n_sentences": "sentences",
    "mean_word_length": "characters of words / words",
    "max_word_length": "characters of the longest word",
    "hash_per_word": "'#' / words",
    "ellipsis_per_word": "('...' not overlapping + '…') / words",
    "newline_per_word": "line breaks / words",
    "alphabetic_word_fraction": "words with at least one letter / words",
    "n_stop_words": "how many of the, be, to, of, and, that, have, with occur (0 to 8)",
    "mean_line_length": "characters of lines, indentation and trailing white included / lines",
    "max_line_length": "characters of the longest line, indentation and trailing white included",
    "bullet_line_fraction": "lines that start with ● • * or - / lines",
    "ellipsis_line_fraction": "lines that end in '...' or '…' / lines",
    "terminal_line_fraction": "lines that end in terminal punctuation / lines",
    "short_line_fraction": "lines of at most 30 characters / lines",
    "duplicate_line_fraction": "lines equal to an earlier line / lines",
    "duplicate_line_char_fraction": "characters of lines equal to an earlier line / characters",
    "duplicate_paragraph_fraction": "paragraphs equal to an earlier paragraph / paragraphs",
    "duplicate_paragraph_char_fraction": "characters of such paragraphs / characters",
    **{
        f"top_{n}gram_char_fraction": f"occurrences × length of the most frequent word {n}-gram / "
        "characters; 0 if none repeats; may exceed 1"
        for n in (2, 3, 4)
    },
    **{
        f"duplicate_{n}gram_char_fraction": f"characters in repeated word {n}-grams / characters"
        for n in (5, 6, 7, 8, 9, 10)
    },
    "c4_sentences": "sentences in the lines that C4 keeps",
    "has_lorem_ipsum": "1 if 'lorem ipsum' occurs, in any case, else 0",
    "has_curly_bracket": "1 if '{' occurs, else 0",
    "letter_fraction": "letters / characters",
    "digit_fraction": "decimal digits / characters",
    "uppercase_fraction": "capital letters / letters",
    "whitespace_fraction": "white space, line breaks included / characters",
    "symbol_fraction": "punctuation and symbols / characters",
    "non_ascii_fraction": "characters above U+007F / characters",
    "control_chars": "control characters other than tab, line feed and carriage return",
    "replacement_chars": "U+FFFD, what decoders leave for bytes that they cannot read",
}

# Preset -> rule -> (expression of what is kept, threshold).
PRESETS: dict[str, dict[str, tuple[str, float]]] = {
    # Rae et al. 2021 (Gopher, arXiv 2112.11446), appendix A.1.1, "quality filtering". The paper
    # gives all numbers; datatrove, DCLM and Dolma share them and differ in what a word is.
    "gopher_quality": {
        "min_words": ("n_words >= {}", 50),
        "max_words": ("n_words <= {}", 100_000),
        "min_mean_word_length": ("mean_word_length >= {}", 3),
        "max_mean_word_length": ("mean_word_length <= {}", 10),
        "max_hashes": ("hash_per_word <= {}", 0.1),
        "max_ellipses": ("ellipsis_per_word <= {}", 0.1),
        "max_bullet_lines": ("bullet_line_fraction <= {}", 0.9),
        "max_ellipsis_lines": ("ellipsis_line_fraction <= {}", 0.3),
        "min_alphabetic_words": ("alphabetic_word_fraction >= {}", 0.8),
        "min_stop_words": ("n_stop_words >= {}", 2),
    },
    # Same paper, table A1. Dolma 1.5 has 0.30 for duplicate_line_chars.
    "gopher_repetition": {
        "max_duplicate_lines": ("duplicate_line_fraction <= {}", 0.30),
        "max_duplicate_paragraphs": ("duplicate_paragraph_fraction <= {}", 0.30),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction <= {}", 0.20),
        "max_duplicate_paragraph_chars": ("duplicate_paragraph_char_fraction <= {}", 0.20),
        "max_top_2gram_chars": ("top_2gram_char_fraction <= {}", 0.20),
        "max_top_3gram_chars": ("top_3gram_char_fraction <= {}", 0.18),
        "max_top_4gram_chars": ("top_4gram_char_fraction <= {}", 0.16),
        "max_duplicate_5gram_chars": ("duplicate_5gram_char_fraction <= {}", 0.15),
        "max_duplicate_6gram_chars": ("duplicate_6gram_char_fraction <= {}", 0.14),
        "max_duplicate_7gram_chars": ("duplicate_7gram_char_fraction <= {}", 0.13),
        "max_duplicate_8gram_chars": ("duplicate_8gram_char_fraction <= {}", 0.12),
        "max_duplicate_9gram_chars": ("duplicate_9gram_char_fraction <= {}", 0.11),
        "max_duplicate_10gram_chars": ("duplicate_10gram_char_fraction <= {}", 0.10),
    },
    # Raffel et al. 2020 (T5, JMLR 21/140), section 2.2: pages, after its line rules. Their code
    # and datatrove keep lines of 3 words or more; DCLM asks 5 words a line and 3 sentences.
    "c4": {
        "min_sentences": ("c4_sentences >= {}", 5),
        "max_lorem_ipsum": ("has_lorem_ipsum <= {}", 0),
        "max_curly_brackets": ("has_curly_bracket <= {}", 0),
    },
    # Penedo et al. 2024 (FineWeb, arXiv 2406.17557), section 3.6, and datatrove's
    # fineweb_quality_filter.py, whose bounds are strict for all but the last. The paper prints 0.1
    # for duplicate_line_chars; FineWeb was made with the code's 0.01 (FineWeb-2 says so). The rule
    # on line breaks is in the code only.
    "fineweb": {
        "min_terminal_lines": ("terminal_line_fraction > {}", 0.12),
        "max_short_lines": ("short_line_fraction < {}", 0.67),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction < {}", 0.01),
        "max_newlines": ("newline_per_word <= {}", 0.3),
    },
    # Chen et al. 2021 (Codex, arXiv 2107.03374), section 3.1: line lengths, and "a small percentage
    # of alphanumeric characters" without a number; 0.25 from bigcode-dataset's preprocessing
    # (SantaCoder, StarCoder: defaults 100, 1000, 0.25). DeepSeek-Coder counts letters alone.
    "code": {
        "max_mean_line_length": ("mean_line_length <= {}", 100),
        "max_line_length": ("max_line_length <= {}", 1000),
        "min_alphanumeric": ("letter_fraction + digit_fraction >= {}", 0.25),
    },
}

_MOST_CHARS, _MOST_DEEP = 1000, 40  # of an expression: bound every recursion over it
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_ALLOWED = "signals, numbers, + - * /, comparisons, and, or, not, parentheses"


@dataclass(frozen=True)
class Rule:
    name: str  # 'gopher_quality.min_words'
    expression: str  # 'n_words >= 50'

    def keeps(self, columns: "Mapping[str, np.ndarray]") -> "np.ndarray":
        """For each document: is the expression true (false and undefined are not)."""
        import numpy as np

        with np.errstate(all="ignore"):  # what is not finite is undefined, and handled
            true, _ = _truth(_parse(self.expression), columns)
        n = len(next(iter(columns.values())))
        return np.broadcast_to(true, (n,)).copy()


def problems(rules: RuleSets) -> Iterator[tuple[str, str, str]]:
    """(key below `curate`, what is wrong, what it must be) for a `curate.rules` table."""
    for set_name, table in rules.items():
        preset = PRESETS.get(set_name, {})
        if not preset and not table:
            hint = nearest(set_name, PRESETS)
            yield f"rules.{set_name}", f"'{set_name}' is no preset{hint}", "a preset, or have rules"
        for rule, value in table.items():
            key = f"rules.{set_name}.{rule}"
            if isinstance(value, str):
                wrong = fault(value)
                if wrong:
                    yield key, f"'{rule}' is {value!r}: {wrong}", f"an expression of {_ALLOWED}"
            elif not preset:
                hint = nearest(set_name, PRESETS)
                what = f"'{rule}' is the number {value}, but '{set_name}' is no preset{hint}"
                yield key, what, "an expression such as 'n_words >= 50'"
            elif rule not in preset:
                what = f"'{set_name}' has no rule '{rule}'{nearest(rule, preset)}"
                yield key, what, "a rule of the preset, or an expression"
            elif isinstance(value, bool) or not math.isfinite(value):
                yield key, f"'{rule}' is {value}", "a finite number"


def compile_rules(rules: RuleSets, chosen: Sequence[str]) -> list[Rule]:
    """The rules of the chosen sets in order: a preset's own first, then those added to it."""
    for key, what, must in problems(rules):
        raise recipe_error(f"curate.{key}", what, must)
    result = []
    for set_name in chosen:
        if set_name not in rules:
            raise recipe_error(
                f"curate.rules.{set_name}",
                f"there is no rule set '{set_name}'{nearest(set_name, rules)}",
                "a table [curate.rules.NAME]",
            )
        filled: dict[str, str] = {}
        for rule, (expression, threshold) in PRESETS.get(set_name, {}).items():
            filled[rule] = expression.format(_number(threshold))
        for rule, value in rules[set_name].items():
            if isinstance(value, str):
                filled[rule] = " ".join(value.split())
            else:
                filled[rule] = PRESETS[set_name][rule][0].format(_number(value))
        result += [Rule(f"{set_name}.{rule}", text) for rule, text in filled.items()]
    return result


def judge(
    rules: Sequence[Rule], columns: "Mapping[str, np.ndarray]"
) -> "tuple[np.ndarray, np.ndarray]":
    """(bool[rules, documents]: the rule would remove it; int[documents]: the first such, or -1)."""
    import numpy as np

    n = len(next(iter(columns.values())))
    removes = np.zeros((len(rules), n), bool)
    first = np.full(n, -1, np.int64)
    for i, rule in enumerate(rules):
        removes[i] = ~rule.keeps(columns)
        first[removes[i] & (first < 0)] = i
    return removes, first


def fault(expression: str) -> str:
    """What is wrong with an expression, in words; empty if it is a rule."""
    try:
        _check(_parse(expression), truth=True)
    except ValueError as wrong:
        return str(wrong)
    return ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _parse(expression: str) -> ast.expr:
    text = " ".join(expression.split())
    if len(text) > _MOST_CHARS:
        raise ValueError(f"{len(text)} characters, more than {_MOST_CHARS}")
    if "#" in text:
        raise ValueError("comments are not part of it")
    try:
        with warnings.catch_warnings():  # such as "1or 2": ours to refuse, not Python's to print
            warnings.simplefilter("ignore")
            tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as wrong:
        reason = wrong.msg if isinstance(wrong, SyntaxError) else "cannot be read"
        raise ValueError(f"not an expression ({reason})") from None
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        level, depth = [c for n in level for c in ast.iter_child_nodes(n)], depth + 1
        if depth > _MOST_DEEP:
            raise ValueError(f"nested more than {_MOST_DEEP} deep")
    return tree


def _check(node: ast.expr, truth: bool) -> None:
    """ValueError unless the tree is of the allowed parts and true-or-false where it must be."""
    is_truth = isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )
    parts: list[ast.expr] = []
    if isinstance(node, ast.Name):
        if node.id not in SIGNALS:
            raise ValueError(f"no signal '{node.id}'{nearest(node.id, SIGNALS)}")
    elif isinstance(node, ast.Constant):
        number = node.value if type(node.value) in (int, float) else math.inf
        if not abs(number) < 1e300:  # type: ignore[arg-type]
            raise ValueError(f"'{ast.unparse(node)}' is not allowed")
    elif isinstance(node, ast.Compare) and all(isinstance(o, _COMPARISONS) for o in node.ops):
        parts = [node.left, *node.comparators]
    elif isinstance(node, ast.BoolOp):
        parts = node.values
    elif isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
        parts = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.UAdd):
        parts = [node.operand]
    else:
        raise ValueError(f"'{ast.unparse(node)}' is not allowed")
    if is_truth != truth:
        wish = "true or false, such as 'n_words >= 50'" if truth else "a number"
        raise ValueError(f"'{ast.unparse(node)}' must be {wish}")
    inside_is_truth = isinstance(node, ast.BoolOp) or (is_truth and isinstance(node, ast.UnaryOp))
    for inner in parts:
        _check(inner, inside_is_truth)


def _truth(node: ast.expr, columns: Mapping[str, Any]) -> tuple[Any, Any]:
    """(is true, is false) per document; neither where undefined."""
    if isinstance(node, ast.UnaryOp):
        true, false = _truth(node.operand, columns)
        return false, true
    if isinstance(node, ast.BoolOp):
        true, false = _truth(node.values[0], columns)
        for value in node.values[1:]:
            t, f = _truth(value, columns)
            both = isinstance(node.op, ast.And)
            true, false = (true & t, false | f) if both else (true | t, false & f)
        return true, false
    assert isinstance(node, ast.Compare)
    true, false = True, False
    left = _value(node.left, columns)
    for operator, right_node in zip(node.ops, node.comparators, strict=True):
        right = _value(right_node, columns)
        t, f = _compare(operator, left, right)
        true, false, left = true & t, false | f, right
    return true, false


def _compare(operator: ast.cmpop, left: Any, right: Any) -> tuple[Any, Any]:
    import numpy as np

    functions = {
        ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater,
        ast.GtE: np.greater_equal, ast.Eq: np.equal, ast.NotEq: np.not_equal,
    }  # fmt: skip
    holds = functions[type(operator)](left, right)
    defined = np.isfinite(left) & np.isfinite(right)
    return holds & defined, ~holds & defined


def _value(node: ast.expr, columns: Mapping[str, Any]) -> Any:
    import numpy as np

    if isinstance(node, ast.Name):
        return np.asarray(columns[node.id], np.float64)
    if isinstance(node, ast.Constant):
        return np.float64(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, columns)
        return -value if isinstance(node.op, ast.USub) else value
    assert isinstance(node, ast.BinOp)
    left, right = _value(node.left, columns), _value(node.right, columns)
    if isinstance(node.op, ast.Div):
        return np.where(right == 0, np.nan, left / right)
    functions = {ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply}
    return functions[type(node.op)](left, right)
