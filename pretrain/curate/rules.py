"""Rules: expressions over signal columns that are true for a document to keep.

    [curate.rules.gopher_quality]
    min_words = 100                                    # a preset's rule with another threshold
    few_links = "hash_per_word <= 0.05 or n_lines < 3" # a rule of one's own

Expressions are those of `expressions.py`; a document on which one is undefined is removed.

No numba, pyarrow or torch here: the recipe check reads this module. Specification: docs/RULES.md.
"""

import ast
import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pretrain.curate.expressions import ALLOWED, fault, parse, truth
from pretrain.curate.presets import PRESETS
from pretrain.curate.presets import SIGNALS as SIGNALS
from pretrain.errors import recipe_error
from pretrain.settings import nearest

if TYPE_CHECKING:
    import numpy as np

# Changes when a signal is counted otherwise than before: raise it with the kernels' meaning.
COUNTING = 2

# What may take a document beside a rule, and the steps of the funnel around them. No rule set may
# have such a name: reasons and steps are counted by what stands before their first dot.
EMPTY, LANGUAGE, DOMAIN, CONTAMINATION = "empty", "language", "domain", "contamination"
SENSITIVE = "sensitive"
TWINS = EXACT_DUPLICATE, NEAR_DUPLICATE = "exact_duplicate", "near_duplicate"
NOTHING_LEFT = "nothing_left"
NORMALIZE, LINES, EDIT = "normalize", "lines", "edit"
STEPS = frozenset(
    (
        *(NORMALIZE, LINES, EMPTY, LANGUAGE, DOMAIN, CONTAMINATION, SENSITIVE),
        *(*TWINS, EDIT, NOTHING_LEFT),
    )
)

RuleSets = Mapping[str, Mapping[str, float | str]]


@dataclass(frozen=True)
class Rule:
    name: str  # 'gopher_quality.min_words'
    expression: str  # 'n_words >= 50'

    def keeps(self, columns: "Mapping[str, np.ndarray]") -> "np.ndarray":
        """For each document: is the expression true (false and undefined are not)."""
        import numpy as np

        with np.errstate(all="ignore"):  # what is not finite is undefined, and handled
            true, _ = truth(parse(self.expression), columns)
        n = len(next(iter(columns.values())))
        return np.broadcast_to(true, (n,)).copy()

    def version(self, mode: str) -> str:
        """Eight hex digits that change with what the rule says or how `mode` counts its signals."""
        text = f"{' '.join(self.expression.split())}\0{mode}\0{COUNTING}"
        return hashlib.blake2s(text.encode(), digest_size=4).hexdigest()


def signals_of(expression: str) -> list[str]:
    """The signals and labels that an expression reads, each once, in the order they stand."""
    nodes = (n for n in ast.walk(parse(expression)) if isinstance(n, ast.Name))
    by_place = sorted(nodes, key=lambda node: node.col_offset)
    return list(dict.fromkeys(node.id for node in by_place))


def problems(rules: RuleSets, extra: Collection[str] = ()) -> Iterator[tuple[str, str, str]]:
    """(key below `curate`, what is wrong, what it must be) for a `curate.rules` table.

    `extra` are signals that only this recipe has, such as quality_NAME.
    """
    for set_name, table in rules.items():
        if set_name in STEPS or not set_name or "." in set_name:
            what = f"a rule set is named '{set_name}'"
            steps = ", ".join(sorted(STEPS))
            yield f"rules.{set_name}", what, f"a name without a dot that is no step ({steps})"
            continue
        preset = PRESETS.get(set_name, {})
        if not preset and not table:
            hint = nearest(set_name, PRESETS)
            yield f"rules.{set_name}", f"'{set_name}' is no preset{hint}", "a preset, or have rules"
        for rule, value in table.items():
            key = f"rules.{set_name}.{rule}"
            if isinstance(value, str):
                wrong = fault(value, extra)
                if wrong:
                    yield key, f"'{rule}' is {value!r}: {wrong}", f"an expression of {ALLOWED}"
            elif not preset:
                hint = nearest(set_name, PRESETS)
                what = f"'{rule}' is the number {value}, but '{set_name}' is no preset{hint}"
                yield key, what, "an expression such as 'n_words >= 50'"
            elif rule not in preset:
                what = f"'{set_name}' has no rule '{rule}'{nearest(rule, preset)}"
                yield key, what, "a rule of the preset, or an expression"
            elif isinstance(value, bool) or not math.isfinite(value):
                yield key, f"'{rule}' is {value}", "a finite number"


def compile_rules(
    rules: RuleSets, chosen: Sequence[str], extra: Collection[str] = ()
) -> list[Rule]:
    """The rules of the chosen sets in order: a preset's own first, then those added to it."""
    for key, what, must in problems(rules, extra):
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


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
