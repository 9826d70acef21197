r"""The tokens of a LaTeX source, read once from left to right, with its macros expanded on the way.

    \newcommand{\R}{\mathbb{R}}   ...  \R^n   ─▶   \mathbb  {  R  }  ^n

A token is a command, a brace or other special sign, a break, or a run of plain text; together they
are the source. Expansions wait on a stack, so a macro that calls itself is a loop and not a
recursion, and each costs its length from a budget: when that is used up, macros vanish. An argument
without its closing brace ends at the next blank line. No token is looked at twice.
"""

import re
from typing import NamedTuple

TOKEN = re.compile(
    r"\\[a-zA-Z@]+\*?|\\.|%[^\n]*(?:\n(?![ \t]*\n)[ \t]*)?|\n[ \t]*\n\s*|\n|\$\$?|#+[0-9]?"
    r"|[{}\[\]&~]|[^\\%\n$#{}\[\]&~]+|\\\Z",
    re.S,
)
DEFINITIONS = frozenset(
    (
        *("newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "def", "gdef"),
        *("edef", "let", "DeclareMathOperator", "newenvironment", "renewenvironment"),
    )
)
_NUMBER = re.compile(r"[0-9]")


class Macro(NamedTuple):
    n_arguments: int
    default: list[str] | None  # of the first argument, which is then optional
    body: list[str]


def is_break(token: str) -> bool:
    """Whether a token is a blank line."""
    return token.isspace() and token.count("\n") > 1


class Tokens:
    """Where reading stands. `protected` are commands that a paper cannot define anew."""

    def __init__(self, source: str, protected: frozenset[str] = frozenset()) -> None:
        self.source, self.position, self.protected = source, 0, protected
        self.waiting: list[str] = []  # the next token last
        self.macros: dict[str, Macro] = {}
        self.budget = 100_000 + 4 * len(source)  # characters that expansions may make

    def next(self) -> str:
        """The next token that is no comment; '' at the end."""
        while True:
            if self.waiting:
                return self.waiting.pop()
            found = TOKEN.match(self.source, self.position)
            if not found:
                return ""
            self.position = found.end()
            if found[0][0] != "%":
                return found[0]

    def back(self, token: str) -> None:
        if token:
            self.waiting.append(token)

    def again(self, tokens: list[str]) -> None:
        """Have tokens that were read come next; it costs their length, or nested ones never end."""
        self.budget -= len(tokens) + sum(map(len, tokens))
        if self.budget >= 0:
            self.waiting.extend(reversed(tokens))

    def skip_spaces(self) -> None:
        """Pass over blanks and at most one line's end."""
        token = self.next()
        if token and token.isspace() and not is_break(token):
            following = self.next()
            if token == "\n" and following.isspace() and not is_break(following):
                following = self.next()
            token = following
        self.back(token.lstrip(" \t") if token[:1] in (" ", "\t") else token)

    def argument(self, long: bool = False) -> list[str]:
        """The tokens of a group, or one token; only in a long one a blank line may stand."""
        self.skip_spaces()
        token = self.next()
        if token == "{":
            return self._until("}", long)
        if token in ("", "}") or token.isspace():
            self.back(token)
            return []
        if token[0] in "\\$#[]&~" or len(token) == 1:
            return [token]
        self.back(token[1:])
        return [token[0]]

    def optional(self) -> list[str] | None:
        """The tokens between brackets if they come next, else None."""
        token = self.next()
        if token == "[":
            return self._until("]", False)
        if token.isspace() and not is_break(token):
            following = self.next()
            if following == "[":
                return self._until("]", False)
            self.back(following)
        self.back(token)
        return None

    def _until(self, closer: str, long: bool) -> list[str]:
        found: list[str] = []
        depth = 0
        while token := self.next():
            if token == closer and depth == 0:
                break
            if not long and is_break(token):
                self.back(token)
                break
            depth += (token == "{") - (token == "}")
            found.append(token)
        return found

    def raw_until(self, end: str) -> str:
        """The source as it stands up to `end`; all of the rest where there is none."""
        at = self.source.find(end, self.position)
        stop = len(self.source) if at < 0 else at
        text = self.source[self.position : stop]
        self.position = min(len(self.source), stop + len(end))
        return text

    def raw_match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """What comes next in the source as it stands, passed over; None within an expansion."""
        found = None if self.waiting else pattern.match(self.source, self.position)
        if found:
            self.position = found.end()
        return found

    def expand(self, name: str) -> None:
        """Put the expansion of a macro before what comes next."""
        macro = self.macros[name]
        arguments = []
        if macro.default is not None:
            given = self.optional()
            arguments.append(macro.default if given is None else given)
        while len(arguments) < macro.n_arguments:
            arguments.append(self.argument())
        lengths = [sum(map(len, a)) + len(a) for a in arguments]
        pieces = [self._slot(token, len(arguments)) for token in macro.body]
        self.budget -= 1 + sum(
            len(token) + 1 if slot is None else lengths[slot]
            for token, slot in zip(macro.body, pieces, strict=True)
        )
        if self.budget < 0:
            return
        for token, slot in zip(reversed(macro.body), reversed(pieces), strict=True):
            if slot is None:
                self.waiting.append(token)
            else:
                self.waiting.extend(reversed(arguments[slot]))

    @staticmethod
    def _slot(token: str, n_arguments: int) -> int | None:
        """Which argument stands at a token of a macro's body."""
        is_slot = len(token) == 2 and token[0] == "#" and token[1].isdigit()
        return int(token[1]) - 1 if is_slot and 1 <= int(token[1]) <= n_arguments else None

    def define(self, how: str) -> None:
        """Read what stands behind \\newcommand, \\def and their kin."""
        if how in ("newenvironment", "renewenvironment"):
            name = "".join(self.argument()).strip()
            n, default = self._parameters()
            self._set(f"begin {name}", Macro(n, default, self.argument(long=True)))
            self._set(f"end {name}", Macro(0, None, self.argument(long=True)))
        elif how == "let":
            name = "".join(self.argument())
            self.skip_spaces()
            if (sign := self.next()) != "=":
                self.back(sign[1:] if sign[:1] == "=" else sign)
            target = self.argument()
            known = self.macros.get(target[0][1:]) if target else None
            self._set(name[1:], known or Macro(0, None, target))
        elif how in ("def", "gdef", "edef"):
            name = "".join(self.argument())
            parameters: list[str] = []
            while (token := self.next()) not in ("", "{") and len(parameters) < 10:
                parameters.append(token)
            self.back(token)
            body = self.argument(long=True)
            if all(re.fullmatch(r"#[1-9]", p) for p in parameters):  # else delimited: left out
                self._set(name[1:], Macro(len(parameters), None, body))
        else:
            name = "".join(self.argument()).strip()
            n, default = self._parameters()
            body = self.argument(long=True)
            if how == "DeclareMathOperator":
                body = ["\\operatorname", "{", *body, "}"]
            self._set(name[1:], Macro(n, default, body))

    def _parameters(self) -> tuple[int, list[str] | None]:
        number = _NUMBER.search("".join(self.optional() or []))
        return int(number[0]) if number else 0, self.optional() if number else None

    def _set(self, name: str, macro: Macro) -> None:
        name = name.removesuffix("*")
        if name and name not in self.protected:
            self.macros[name] = macro
