"""The expressions of rules: parsed, checked and evaluated over columns, never run as code.

An expression may use signals, numbers, + - * /, comparisons (chained ones too), and, or, not, and
parentheses; a label (language, source, domain, license) may be compared with a text by == and !=.
It ends in true or false. Where a value is undefined (division by zero) the comparison is neither
true nor false, and `and`, `or` and `not` carry that on: false and undefined is false, true or
undefined is true. A label that a document does not have is unequal to every text.
"""

import ast
import math
import warnings
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pretrain.curate.presets import SIGNALS
from pretrain.settings import nearest

if TYPE_CHECKING:
    pass

LABELS = ("language", "source", "domain", "license")
_MOST_CHARS, _MOST_DEEP = 1000, 40  # of an expression: bound every recursion over it
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARISONS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
ALLOWED = "signals, numbers, + - * /, comparisons, and, or, not, parentheses, label == 'text'"


def fault(expression: str, extra: Collection[str] = ()) -> str:
    """What is wrong with an expression, in words; empty if it is a rule."""
    try:
        _check(parse(expression), True, {*SIGNALS, *extra})
    except ValueError as wrong:
        return str(wrong)
    return ""


def parse(expression: str) -> ast.expr:
    """The tree of an expression. Raises: ValueError, in words, where it is none."""
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


def _check(node: ast.expr, truth: bool, known: Collection[str]) -> None:
    """ValueError unless the tree is of the allowed parts and true-or-false where it must be."""
    is_truth = isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )
    parts: list[ast.expr] = []
    if isinstance(node, ast.Name):
        if node.id in LABELS:
            raise ValueError(f"'{node.id}' can only be compared with a text by == or !=")
        if node.id not in known:
            raise ValueError(f"no signal '{node.id}'{nearest(node.id, [*known, *LABELS])}")
    elif isinstance(node, ast.Constant):
        number = node.value if type(node.value) in (int, float) else math.inf
        if not abs(number) < 1e300:  # type: ignore[arg-type]
            raise ValueError(f"'{ast.unparse(node)}' is not allowed")
    elif _of_label(node):
        pass
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
        _check(inner, inside_is_truth, known)


def _of_label(node: ast.AST) -> bool:
    """Whether a node is `label == 'text'` or `label != 'text'`."""
    return (
        isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Name)
        and node.left.id in LABELS
        and len(node.ops) == 1
        and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        and isinstance(node.comparators[0], ast.Constant)
        and isinstance(node.comparators[0].value, str)
    )


def truth(node: ast.expr, columns: Mapping[str, Any]) -> tuple[Any, Any]:
    """(is true, is false) per document; neither where undefined."""
    if isinstance(node, ast.UnaryOp):
        true, false = truth(node.operand, columns)
        return false, true
    if isinstance(node, ast.BoolOp):
        true, false = truth(node.values[0], columns)
        for value in node.values[1:]:
            t, f = truth(value, columns)
            both = isinstance(node.op, ast.And)
            true, false = (true & t, false | f) if both else (true | t, false & f)
        return true, false
    assert isinstance(node, ast.Compare)
    if _of_label(node):
        import numpy as np

        labels: Any = columns[node.left.id]  # type: ignore[attr-defined]
        equal = np.array(labels == node.comparators[0].value, np.bool_)  # type: ignore[attr-defined]
        unequal = np.logical_not(equal)
        return (equal, unequal) if isinstance(node.ops[0], ast.Eq) else (unequal, equal)
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
