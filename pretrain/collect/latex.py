r"""LaTeX to readable text, in one pass over its tokens; called in the watched process.

    \section{A} See~\cite{x} $\R^n$ % why      ─▶     A

                                                      See $\mathbb{R}^n$

The preamble gives its macros and the title and is gone. Macros of the paper are expanded, in
formulas too, because without the preamble they mean nothing; the work is bounded by the length of
the paper, and beyond it a macro vanishes (tag `macros_cut`). Formulas stay as source: `$...$` in a
line, `$$...$$` around a display, with \begin{align} and its kind where rows matter. Citations,
references and labels vanish with the space before them. Figures leave their captions, tables their
captions and rows (cells between ` | `), code stays verbatim; drawings, authors' addresses and the
bibliography go. A command that is not known vanishes; what stands in its braces stays.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Any

from pretrain.collect import latex_words as words
from pretrain.collect.latex_formulas import INLINE, formula_source, shown_formula
from pretrain.collect.latex_tokens import DEFINITIONS, Tokens, is_break

_INPUTENC = re.compile(rb"^[^%\n]*\\usepackage\s?\[([\w-]{1,20})\]\s?\{inputenc\}", re.M)
_BABEL = re.compile(r"^[^%\n]*\\usepackage\s?\[([\w, =-]{1,200})\]\s?\{babel\}", re.M)
_DOCUMENT = re.compile(r"^[^%\n]*\\begin\s?\{document\}", re.M)
_CONDITION = re.compile(r"\\(?:(fi)|if(?!f(?![a-zA-Z])|thenelse)[a-zA-Z@]*)(?![a-zA-Z@])")
_URL = re.compile(r"\s?\{([^{}\n]{0,2000})\}")
_VERB = re.compile(r"\*?([^a-zA-Z\s])([^\n]{0,1000}?)\1")
_OPTION = re.compile(r"\s?\[[^\]\n]{0,500}\]")
_LANGUAGE = re.compile(r"\s?\{[^{}\n]{0,50}\}")
_EMPTY_BRACKETS = re.compile(r"[(\[]\x00(?:[,; ]{0,3}\x00)*[)\]]")
_PROTECTED = frozenset(
    {"begin", "end", "item", "footnote", "verb", "lstinline", "par", "text", "newtheorem"}
    | {*words.DROPPED, *words.REFERENCES, *words.HEADINGS, *DEFINITIONS}
)
_GAP, _HELD = "\0", "\1"  # where a reference stood; where a piece that must not be touched stands


def extract(data: bytes) -> dict[str, Any]:
    """Text and language of a paper; `reason` is set where its encoding is not known."""
    answer: dict[str, Any] = {
        "text": "",
        "language": None,
        "date": None,
        "reason": "",
        "detail": "",
        "tags": [],
    }
    declared = _INPUTENC.search(data)
    encoding = words.ENCODINGS.get(declared[1].decode("ascii", "replace") if declared else "")
    try:
        source = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if not encoding:
            return {**answer, "reason": "not_utf8", "detail": f"byte {error.start}"}
        source = data.decode(encoding, "replace")
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    source = source.removeprefix("\ufeff").replace(_GAP, "").replace(_HELD, "")
    paper = _Paper(source)
    answer["text"] = paper.text()
    answer["tags"] = ["macros_cut"] if paper.tokens.budget < 0 else []
    answer["language"] = _language(source)
    return answer


def _language(source: str) -> str | None:
    found = _BABEL.search(source)
    names = [n.strip().removeprefix("main=") for n in found[1].split(",")] if found else []
    return next((words.LANGUAGES[n] for n in reversed(names) if n in words.LANGUAGES), None)


class _Paper:
    """What is read and what is written so far."""

    def __init__(self, source: str) -> None:
        self.tokens = Tokens(source, _PROTECTED)
        self.in_preamble = bool(_DOCUMENT.search(source))
        self.title: list[str] = []
        self.theorems = dict(words.THEOREMS)
        self.groups: list[str] = []  # what to write when a brace closes
        self.n_tables = 0
        self.has_fi = True
        self.out: list[str] = []
        self.held: list[str] = []

    def text(self) -> str:
        """The text of the whole source."""
        while (token := self.tokens.next()) and self.write(token):
            pass
        text = _EMPTY_BRACKETS.sub(_GAP, "".join(self.out))
        text = re.sub(f" ?{_GAP}", "", text)
        text = re.sub(r"[ \t]+", " ", text)
        text = re.sub(r" ?\n ?", "\n", text)
        text = re.sub(r"\n{3,}", "\n\n", text).strip()
        held = iter(self.held)
        text = re.sub(_HELD, lambda _: next(held), text).strip("\n")
        return text + "\n" if text.strip() else ""

    def hold(self, text: str, around: str = "") -> None:
        """Write a piece whose blanks and lines are not touched."""
        self.held.append(text)
        self.out.append(f"{around}{_HELD}{around}")

    def write(self, token: str) -> bool:
        """Write what a token stands for; False at the end of the document."""
        first = token[0]
        if first == "\\":
            name = token[1:].removesuffix("*") if len(token) > 2 else token[1:]
            return self.word(name) if name.isalpha() or "@" in name else self.sign(name)
        if first == "{":
            self.groups.append("")
        elif first == "}":
            self.out.append(self.groups.pop() if self.groups else "")
        elif first == "$":
            self.formula(token)
        elif first == "&":
            self.out.append(" | " if self.n_tables else " ")
        elif first == "~":
            self.out.append(" ")
        elif first == "\n":
            self.out.append("\n\n" if is_break(token) else " ")
        elif first != "#":
            token = token.replace("---", "—").replace("--", "–")
            self.out.append(token.replace("``", "“").replace("''", "”").replace("`", "‘"))
        return True

    def sign(self, sign: str) -> bool:
        """A backslash with one character that is no letter."""
        if sign == "\\":
            self.tokens.optional()
            self.out.append("\n")
        elif sign in ("(", "["):
            self.formula("\\)" if sign == "(" else "\\]")
        elif sign in words.ACCENTS:
            self.accent(sign)
        else:
            self.out.append(words.SIGNS.get(sign, ""))
        return True

    def accent(self, name: str) -> None:
        letters = [t for t in self.tokens.argument() if t not in "{}"]
        letter = "".join({"\\i": "i", "\\j": "j"}.get(t, t) for t in letters)[:1]
        self.out.append(unicodedata.normalize("NFC", letter + words.ACCENTS[name]))

    def word(self, name: str) -> bool:
        """A command whose name is letters; False for the end of the document."""
        tokens = self.tokens
        if name in tokens.macros:
            if not tokens.macros[name].n_arguments:
                tokens.skip_spaces()
            tokens.expand(name)
        elif name in DEFINITIONS:
            tokens.define(name)
        elif name in words.REFERENCES:
            tokens.optional()
            tokens.optional()
            tokens.argument()
            self.out.append(_GAP)
        elif name == "title" and self.in_preamble:
            tokens.optional()
            self.title = tokens.argument(long=True)
        elif name in words.HEADINGS:
            tokens.optional()
            self.opened("\n\n", "\n\n")
        elif name in words.DROPPED:
            tokens.optional()
            for _ in range(words.DROPPED[name]):
                tokens.argument()
        elif name in words.ACCENTS:
            self.accent(name)
        elif name in _COMMANDS:
            return _COMMANDS[name](self) is not False
        else:
            if not name.startswith(("if", "else", "fi")):
                tokens.skip_spaces()
            self.out.append(words.WORDS.get(name, ""))
        return True

    def opened(self, before: str, after: str) -> None:
        """Write `before`, and `after` when the group that comes next closes."""
        self.out.append(before)
        self.tokens.skip_spaces()
        token = self.tokens.next()
        if token == "{":
            self.groups.append(after)
        else:
            self.tokens.back(token)

    def formula(self, opener: str, name: str = "") -> None:
        """A formula up to its end; what never ends was none, and stays as it stands."""
        source, is_closed = formula_source(self.tokens, opener, name)
        if not is_closed and not name:
            self.out.append(("$" if opener in INLINE else "$$") + source)
        elif source.strip():
            around = "" if opener in INLINE else "\n\n"
            self.hold(shown_formula(source, opener, name), around)

    def begin(self) -> None:
        tokens = self.tokens
        full = "".join(tokens.argument()).strip()
        name = full.removesuffix("*")
        if full == "document":
            self.out, self.held, self.groups, self.in_preamble = [], [], [], False
            tokens.again(["\\section", "{", *self.title, "}"])
        elif f"begin {full}" in tokens.macros:
            tokens.expand(f"begin {full}")
        elif name in words.MATH:
            self.formula("", full)
        elif name in words.CODE and not tokens.waiting:
            tokens.raw_match(_OPTION)
            tokens.raw_match(_LANGUAGE) if name == "minted" else None
            self.hold(tokens.raw_until(f"\\end{{{full}}}").strip("\n"), "\n\n")
        elif name in words.GONE and not tokens.waiting:
            tokens.raw_until(f"\\end{{{full}}}")
        elif name in self.theorems:
            note = tokens.optional()
            self.out.append(f"\n\n{self.theorems[name]}")
            tokens.again([" (", *note, "). "] if note else [". "])
        else:
            tokens.optional()
            for _ in range(words.TABLES.get(name, words.ARGUMENTS.get(name, 0))):
                tokens.argument()
            self.n_tables += name in words.TABLES
            self.out.append("\n\n")

    def end(self) -> bool:
        name = "".join(self.tokens.argument()).strip()
        if name == "document":
            return False
        if f"end {name}" in self.tokens.macros:
            self.tokens.expand(f"end {name}")
            return True
        if name.removesuffix("*") in words.TABLES:
            self.n_tables = max(0, self.n_tables - 1)
        self.out.append("\n\n")
        return True

    def item(self) -> None:
        label = self.tokens.optional()
        self.out.append("\n- ")
        self.tokens.again([*label, " "] if label else [])

    def verb(self) -> None:
        self.tokens.raw_match(_OPTION)
        found = self.tokens.raw_match(_VERB)
        if found:
            self.hold(found[2])

    def url(self) -> None:
        found = self.tokens.raw_match(_URL)
        if found:
            self.hold(found[1])

    def iffalse(self) -> None:
        """Pass over what \\iffalse hides; a missing \\fi is looked for once."""
        tokens = self.tokens
        if tokens.waiting or not self.has_fi:
            return
        depth = 1
        for found in _CONDITION.finditer(tokens.source, tokens.position):
            depth += -1 if found[1] else 1
            if not depth:
                tokens.position = found.end()
                return
        self.has_fi = False

    def newtheorem(self) -> None:
        name = "".join(self.tokens.argument()).strip()
        self.tokens.optional()
        title = "".join(self.tokens.argument()).strip()
        self.tokens.optional()
        if name and title and name not in words.MATH and name not in words.TABLES:
            self.theorems[name] = title

    def xspace(self) -> None:
        token = self.tokens.next()
        self.tokens.back(token)
        self.out.append("" if not token or token[0] in ".,;:!?)/'-}]~ \n\\" else " ")

    def ensuremath(self) -> None:
        self.tokens.again(["$", *self.tokens.argument(), "$"])


_COMMANDS: dict[str, Callable[[_Paper], Any]] = {
    "begin": _Paper.begin,
    "end": _Paper.end,
    "item": _Paper.item,
    "verb": _Paper.verb,
    "lstinline": _Paper.verb,
    "url": _Paper.url,
    "path": _Paper.url,
    "nolinkurl": _Paper.url,
    "iffalse": _Paper.iffalse,
    "newtheorem": _Paper.newtheorem,
    "xspace": _Paper.xspace,
    "ensuremath": _Paper.ensuremath,
    "footnote": lambda paper: paper.opened(" (", ")"),
    "footnotetext": lambda paper: paper.opened(" (", ")"),
}
