r"""What the commands of LaTeX become in plain text: tables, no code.

DROPPED    how many arguments vanish with the command
WORDS      commands that stand for a character
ACCENTS    commands that put a mark on the next letter
HEADINGS   commands whose argument is a line of its own
environments by what becomes of their content
"""

# Commands whose arguments are for the typesetter, or point to somewhere else.
DROPPED = {
    **dict.fromkeys(
        (
            *("label", "index", "glossary", "bibliography", "bibliographystyle", "nocite"),
            *("usepackage", "RequirePackage", "documentclass", "documentstyle", "LoadClass"),
            *("includegraphics", "epsfig", "psfig", "epsfbox", "epsffile", "graphicspath"),
            *("vspace", "hspace", "thispagestyle", "pagestyle"),
            *("pagenumbering", "phantom", "vphantom", "hphantom", "color", "pagecolor"),
            *(
                "stepcounter",
                "refstepcounter",
                "newcounter",
                "newlength",
                "usetikzlibrary",
                "hypersetup",
            ),
            *("captionsetup", "lstset", "geometry", "hyphenation", "input", "include", "subfile"),
            *("includeonly", "cline", "cmidrule", "rowcolor", "cellcolor", "columncolor", "todo"),
            *("author", "address", "email", "affiliation", "thanks", "date", "institute"),
            *(
                "keywords",
                "affil",
                "altaffiliation",
                "orcid",
                "pacs",
                "marginpar",
                "markboth",
                "chaptermark",
            ),
            *("sectionmark", "theoremstyle", "allowdisplaybreaks"),
            *("bibitem", "newif", "tikzset", "pgfplotsset", "setlist", "preprint"),
            *("subjclass", "curraddr", "urladdr", "dedicatory", "authornote", "ccsdesc"),
        ),
        1,
    ),
    **dict.fromkeys(
        (
            *("setlength", "addtolength", "setcounter", "addtocounter", "settowidth", "fontsize"),
            *("markboth", "hyperlink", "rule", "DeclareGraphicsExtensions", "colorbox"),
            *(
                "SetKwInOut",
                "newtheoremstyle",
                "numberwithin",
                "counterwithin",
                "setbeamertemplate",
            ),
        ),
        2,
    ),
    **dict.fromkeys(("definecolor", "addcontentsline", "DeclareMathAlphabet", "titleformat"), 3),
    **dict.fromkeys(("textcolor", "scalebox", "parbox", "raisebox", "href", "hyperref"), 1),
    **dict.fromkeys(("resizebox", "multicolumn", "multirow"), 2),
}
# Citations and references vanish with the tie or space before them, and brackets left empty.
REFERENCES = frozenset(
    (
        *("cite", "citep", "citet", "citealt", "citealp", "citeauthor", "citeyear", "citeyearpar"),
        *("parencite", "textcite", "autocite", "footcite", "Cite", "Citet", "Citep", "onlinecite"),
        *("ref", "eqref", "pageref", "autoref", "cref", "Cref", "nameref", "vref", "prettyref"),
    )
)
HEADINGS = frozenset(
    (
        *("part", "chapter", "section", "subsection", "subsubsection", "paragraph"),
        *("subparagraph", "title", "caption", "captionof", "frametitle"),
    )
)
DEFINITIONS = frozenset(
    (
        *("newcommand", "renewcommand", "providecommand", "DeclareRobustCommand"),
        *("DeclareMathOperator", "def", "gdef", "edef", "let", "newenvironment"),
        *("renewenvironment", "newtheorem"),
    )
)

WORDS = {
    **{"ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "l": "ł"},
    **{"L": "Ł", "aa": "å", "AA": "Å", "i": "ı", "j": "ȷ", "dh": "ð", "th": "þ", "dj": "đ"},
    **{"S": "§", "P": "¶", "copyright": "©", "pounds": "£", "euro": "€", "texteuro": "€"},
    **{"dag": "†", "ddag": "‡", "ldots": "…", "dots": "…", "textellipsis": "…", "dotfill": "…"},
    **{"textendash": "–", "textemdash": "—", "textbullet": "•", "textdegree": "°", "degree": "°"},
    **{"textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“"},
    **{"textquotedblright": "”", "textbackslash": "\\", "textasciitilde": "~", "lq": "‘"},
    **{"rq": "’", "textasciicircum": "^", "textunderscore": "_", "textbar": "|", "textless": "<"},
    **{"textgreater": ">", "textregistered": "®", "texttrademark": "™", "slash": "/"},
    **{"LaTeX": "LaTeX", "TeX": "TeX", "LaTeXe": "LaTeX2e", "BibTeX": "BibTeX", "today": ""},
    **{"quad": " ", "qquad": " ", "enspace": " ", "space": " ", "newline": "\n"},
    **{
        "tabularnewline": "\n",
        "par": "\n\n",
        "bigskip": "\n\n",
        "medskip": "\n\n",
        "smallskip": "\n\n",
    },
    **{"newpage": "\n\n", "clearpage": "\n\n", "linebreak": "\n", "cr": "\n"},
}
# One character behind a backslash.
SIGNS = {
    **{c: c for c in "%$#&_{}"},
    **{" ": " ", "\n": " ", "\t": " ", ",": " ", ";": " ", ":": " ", ">": " "},
    **{"!": "", "-": "", "/": "", "@": "", "(": "", ")": "", "*": ""},
}
ACCENTS = {
    **{"'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304"},
    **{".": "\u0307", "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328"},
    **{"r": "\u030a", "d": "\u0323", "b": "\u0331"},
}

MATH = frozenset(
    (
        *("equation", "displaymath", "math", "align", "alignat", "flalign", "gather", "multline"),
        *("eqnarray", "split", "dmath", "IEEEeqnarray", "xalignat"),
    )
)
MATH_BODY_ONLY = frozenset(("equation", "displaymath", "math", "dmath"))
CODE = frozenset(
    ("verbatim", "Verbatim", "lstlisting", "minted", "alltt", "code", "BVerbatim", "pyglist")
)
GONE = frozenset(
    (
        *("comment", "tikzpicture", "pgfpicture", "picture", "filecontents", "thebibliography"),
        *("CCSXML", "psfrags", "overpic", "axis", "feynman", "fmffile"),
    )
)
TABLES = {
    **dict.fromkeys(("tabular", "longtable", "supertabular", "deluxetable"), 1),
    **dict.fromkeys(("tabularx", "tabulary"), 2),
}
# Environments that take arguments which are not text.
ARGUMENTS = {"minipage": 1, "multicols": 1, "wrapfigure": 2, "wraptable": 2, "adjustbox": 1} | {
    "subfigure": 1,
    "list": 2,
    "thebibliography": 1,
    "spacing": 1,
}
THEOREMS = {
    **{"theorem": "Theorem", "lemma": "Lemma", "proposition": "Proposition"},
    **{"corollary": "Corollary", "definition": "Definition", "remark": "Remark"},
    **{"example": "Example", "exercise": "Exercise", "proof": "Proof", "conjecture": "Conjecture"},
    **{"claim": "Claim", "abstract": "Abstract", "axiom": "Axiom", "remarks": "Remarks"},
    **{"situation": "Situation", "question": "Question", "problem": "Problem"},
}
LANGUAGES = {
    **dict.fromkeys(("german", "ngerman", "austrian", "naustrian"), "de"),
    **dict.fromkeys(("french", "francais", "frenchb"), "fr"),
    **dict.fromkeys(("english", "american", "british", "USenglish", "UKenglish"), "en"),
    **{"spanish": "es", "italian": "it", "portuguese": "pt", "brazil": "pt", "dutch": "nl"},
    **{"russian": "ru", "polish": "pl", "czech": "cs", "swedish": "sv", "danish": "da"},
}
ENCODINGS = {
    **{"latin1": "latin-1", "latin2": "iso8859-2", "latin5": "iso8859-9", "latin9": "iso8859-15"},
    **{"ansinew": "cp1252", "cp1252": "cp1252", "cp1251": "cp1251", "cp1250": "cp1250"},
    **{"koi8-r": "koi8-r", "applemac": "mac-roman"},
}
