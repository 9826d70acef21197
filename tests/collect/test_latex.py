import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from pretrain.collect.latex import extract
from tests.collect.test_latex_tokens import LATEX


def text(source: str) -> str:
    answer = extract(source.encode())
    assert not answer["reason"]
    return answer["text"].removesuffix("\n")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("\\section{A} text", "A\n\ntext"),
        ("\\section*{A \\emph{b}}\nOne\ntwo.", "A b\n\nOne two."),
        ("See~\\cite[p.~1]{x} and Lemma \\ref{y}.", "See and Lemma."),
        ("known (\\cite{a}, \\cite{b}) and (see \\eqref{c})", "known and (see)"),
        ("\\label{x}a\\footnote{Note.} b", "a (Note.) b"),
        ("``Quoted'' 1--2 --- end\\ldots", "“Quoted” 1–2 — end…"),
        (
            "Erd\\H{o}s, \\'Etale, na\\\"{\\i}ve, stra\\ss e, \\c{c}a",
            "Erdős, Étale, naïve, straße, ça",
        ),
        ("50\\% \\& \\$5 \\{x\\} a\\_b", "50% & $5 {x} a_b"),
        ("one\\\\two\\par three", "one\ntwo\n\nthree"),
        ("\\textbf{bold} {\\it slanted} \\unknown{kept}", "bold slanted kept"),
        ("\\href{http://a.b}{link} \\url{http://c.d/~e_f%20}", "link http://c.d/~e_f%20"),
        ("\\textcolor{red}{warm} \\LaTeX{} here", "warm LaTeX here"),
        ("\\iffalse hidden \\ifx a\\fi too \\fi shown", "shown"),
        ("\\iffalse never closed", "never closed"),
        ("a \\verb|x_1 % {| b \\verb+$+", "a x_1 % { b $"),
        ("before\\begin{comment}no\\end{comment}after", "beforeafter"),
        ("a\\begin{tikzpicture}\\draw (0,0);\\end{tikzpicture}b", "ab"),
        ("\\begin{thebibliography}{9}\\bibitem{x} No.\\end{thebibliography}", ""),
    ],
)
def test_prose(source: str, expected: str) -> None:
    assert text(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("inline $a_1 < b$ and \\(c\\)", "inline $a_1 < b$ and $c$"),
        ("\\[x^2\\]", "$$x^2$$"),
        ("a $$x$$ b", "a\n\n$$x$$\n\nb"),
        ("\\begin{equation}\\label{e}\nx = 1 % why\n\\end{equation}", "$$x = 1$$"),
        (
            "\\begin{align*}\na &= b \\\\\nc &= d \\nonumber\n\\end{align*}",
            "$$\n\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}\n$$",
        ),
        (
            "\\begin{equation}\\begin{array}{c}a\\end{array}\\end{equation}",
            "$$\\begin{array}{c}a\\end{array}$$",
        ),
        ("$a \\text{ if $b$}$ c", "$a \\text{ if $b$}$ c"),
        ("\\newcommand{\\R}{\\mathbb R}in $\\R^n$", "in $\\mathbb R^n$"),
        ("$x$$y$", "$x$$y$"),
        ("costs 5$ only\n\nnext", "costs 5$ only\n\nnext"),
    ],
)
def test_formulas(source: str, expected: str) -> None:
    assert text(source) == expected


def test_a_document_loses_its_preamble_and_keeps_its_title() -> None:
    source = r"""
\documentclass[11pt]{article}
\usepackage[ngerman]{babel}
\title{On \emph{Things}}
\author{Someone\thanks{Grant}}
\newcommand{\eg}{e.g.\ }
\newtheorem{thm}{Satz}[section]
\newenvironment{note}{Note: }{ (end)}
\begin{document}
\maketitle
\begin{abstract}We look.\end{abstract}
\begin{thm}[Zorn] Any \eg chain. \end{thm}
\begin{note}inner\end{note}
\begin{itemize}\item one \item[b)] two\end{itemize}
\end{document}
not this
"""
    answer = extract(source.encode())
    assert answer["language"] == "de"
    assert answer["text"] == (
        "On Things\n\nAbstract. We look.\n\nSatz (Zorn). Any e.g. chain.\n\nNote: inner (end)\n\n"
        "- one\n- b) two\n"
    )


def test_figures_tables_and_code() -> None:
    source = r"""
\begin{figure}[htbp]\centering\includegraphics[width=1cm]{f.eps}\caption{What is seen.}\end{figure}
\begin{table}\caption{Counts}\begin{tabular}{l|r}\hline
a & 1 \\ \hline
b & \multicolumn{1}{c}{2} \\
\end{tabular}\end{table}
\begin{lstlisting}[language=C]
int  main() { % no comment

  return 0; }
\end{lstlisting}
"""
    assert text(source) == (
        "What is seen.\n\nCounts\n\na | 1\nb | 2\n\nint  main() { % no comment\n\n  return 0; }"
    )


def test_encodings() -> None:
    assert extract("é".encode("latin-1"))["reason"] == "not_utf8"
    declared = "\\usepackage[latin1]{inputenc}\n\\begin{document}é\\end{document}"
    assert extract(declared.encode("latin-1"))["text"] == "é\n"
    assert extract(b"\xef\xbb\xbfa\r\nb")["text"] == "a b\n"


def test_macros_beyond_the_budget_are_marked() -> None:
    assert extract(b"\\def\\a{\\a\\a}\\a text")["tags"] == ["macros_cut"]


@pytest.mark.parametrize(
    "source",
    [
        "{" * 200_000,
        "}" * 200_000,
        "$" * 200_001,
        "\\begin{equation}" * 20_000,
        "\\begin{verbatim}" * 20_000,
        "\\begin{tabular}" * 20_000,
        "\\label{" * 50_000,
        "\\section{" * 50_000,
        "\\newcommand{\\a" * 20_000,
        "\\item[" * 50_000,
        "\\iffalse " * 20_000,
        "\\verb|" * 20_000,
        "(\\cite{a}" * 20_000,
        "% " * 100_000,
        "\n" * 200_000,
        " \t" * 100_000,
        "\\" * 200_001,
        "\\footnote{\\emph{" * 20_000 + "}" * 40_000,
    ],
    ids=lambda source: source[:12],
)
def test_hostile_sources_end(source: str) -> None:
    extract(source.encode())


@settings(max_examples=200)
@given(LATEX)
def test_no_source_makes_it_fail(source: str) -> None:
    answer = extract(source.encode())
    assert "\0" not in answer["text"]
    assert "\1" not in answer["text"]


def test_real_chapters(data: Path) -> None:
    with gzip.open(data / "tech/stacks-latex.jsonl.gz") as file:
        chapters = [json.loads(line)["text"] for line in file]
    for chapter in (chapters[3], chapters[5]):
        answer = extract(chapter.encode())
        assert len(answer["text"]) > 0.6 * len(chapter)
        prose = re.sub(r"\$\$.*?\$\$|\$.*?\$", "", answer["text"], flags=re.S)
        assert "\\label" not in answer["text"]
        assert prose.count("\\") < len(prose) / 2000
