r"""Formulas of a LaTeX source: read up to their end, written as source between dollar signs.

    $a$  \(a\)                    ─▶   $a$
    \[a\]  \begin{equation}a...   ─▶   $$a$$
    \begin{align}a &= b\\...      ─▶   $$ with \begin{align} ... \end{align} in it $$

Macros of the paper are expanded, labels and \nonumber are left out, all else is kept to the letter:
a model is to write the source, not what it looks like. A formula without its end stops at the next
blank line, an environment at the end of the paper.
"""

import re

from pretrain.collect import latex_words as words
from pretrain.collect.latex_tokens import Tokens, is_break

INLINE = ("$", "\\)")


def formula_source(tokens: Tokens, closer: str, name: str = "") -> tuple[str, bool]:
    """The source up to `closer`, or to the end of the environment `name`; whether it has an end."""
    parts: list[str] = []
    depth = n_open = 0
    while token := tokens.next():
        if depth <= 0 and not name and (token == closer or (closer, token) == ("$", "$$")):
            tokens.back("" if token == closer else "$")
            return "".join(parts), True
        if not name and (is_break(token) or (token == "}" and depth == 0)):
            tokens.back(token)
            break
        depth += (token == "{") - (token == "}")
        command = token[1:] if token[0] == "\\" else ""
        if command in tokens.macros:
            tokens.expand(command)
        elif command == "label":
            tokens.argument()
        elif command in ("begin", "end") and name:
            environment = "".join(tokens.argument())
            if command == "end" and not n_open and environment == name:
                return "".join(parts), True
            n_open = max(0, n_open + (1 if command == "begin" else -1))
            parts.append(f"{token}{{{environment}}}")
        elif command not in ("nonumber", "notag"):
            parts.append(token)
    return "".join(parts), False


def shown_formula(source: str, opener: str, name: str = "") -> str:
    """A formula between the signs that Markdown has for it."""
    source = source.strip()
    if opener in INLINE:
        return "$" + re.sub(r"\s+", " ", source) + "$"
    if name and name.removesuffix("*") not in words.MATH_BODY_ONLY:
        source = f"\\begin{{{name}}}\n{source}\n\\end{{{name}}}"
    return f"$$\n{source}\n$$" if "\n" in source else f"$${source}$$"
