"""Programming languages by file name, suffix or first line: tables and one function.

A name decides before a suffix, a suffix before `#!`. Where two languages share a suffix (.h, .m,
.pl) the more common one is taken, or a word of the text decides (AMBIGUOUS). Markup and
configuration are languages too: they are most of what repositories hold beside programs.
"""

import re

SUFFIXES = {
    suffix: language
    for language, suffixes in {
        **{"python": "py pyi pyw", "cython": "pyx pxd pxi", "javascript": "js mjs cjs jsx"},
        **{"typescript": "ts tsx mts cts", "c": "c h", "c++": "cc cpp cxx c++ hpp hh hxx inl ipp"},
        **{
            "c#": "cs",
            "f#": "fs fsi fsx",
            "visual-basic": "vb",
            "java": "java",
            "kotlin": "kt kts",
        },
        **{"scala": "scala sc", "groovy": "groovy gradle", "clojure": "clj cljs cljc edn"},
        **{"go": "go", "rust": "rs", "swift": "swift", "objective-c": "mm", "matlab": "m"},
        **{"ruby": "rb rake gemspec", "php": "php phtml", "perl": "pl pm t", "raku": "raku p6"},
        **{"shell": "sh bash zsh ksh fish", "powershell": "ps1 psm1 psd1", "batch": "bat cmd"},
        **{"sql": "sql", "r": "r", "julia": "jl", "lua": "lua", "tcl": "tcl", "awk": "awk"},
        **{"haskell": "hs lhs", "ocaml": "ml mli", "standard-ml": "sml sig", "elm": "elm"},
        **{"purescript": "purs", "erlang": "erl hrl", "elixir": "ex exs", "gleam": "gleam"},
        **{"lisp": "lisp lsp cl", "emacs-lisp": "el", "scheme": "scm ss", "racket": "rkt"},
        **{"prolog": "pro", "fortran": "f f77 f90 f95 f03 f08 for", "cobol": "cob cbl"},
        **{"pascal": "pas pp dpr", "ada": "adb ads", "d": "d", "nim": "nim", "zig": "zig"},
        **{"crystal": "cr", "dart": "dart", "v": "vv", "odin": "odin", "solidity": "sol"},
        **{"cuda": "cu cuh", "opencl": "opencl", "glsl": "glsl vert frag comp", "hlsl": "hlsl"},
        **{"verilog": "v vh", "systemverilog": "sv svh", "vhdl": "vhd vhdl", "assembly": "s asm"},
        **{"llvm": "ll", "webassembly": "wat wast", "lean": "lean", "coq": "coq", "agda": "agda"},
        **{"isabelle": "thy", "idris": "idr", "tla": "tla", "html": "html htm xhtml", "vue": "vue"},
        **{"css": "css", "scss": "scss sass", "less": "less", "svelte": "svelte", "astro": "astro"},
        **{"xml": "xml xsd xsl xslt", "svg": "svg", "json": "json json5 jsonc", "yaml": "yaml yml"},
        **{"toml": "toml", "ini": "ini cfg conf", "properties": "properties", "csv": "csv tsv"},
        **{"protobuf": "proto", "thrift": "thrift", "graphql": "graphql gql", "hcl": "tf hcl"},
        **{"nix": "nix", "dockerfile": "dockerfile", "make": "mk mak", "cmake": "cmake"},
        **{"bazel": "bzl bazel", "meson": "meson", "markdown": "md markdown mdx"},
        **{
            "restructuredtext": "rst",
            "asciidoc": "adoc asciidoc",
            "org": "org",
            "tex": "tex sty cls",
        },
        **{"bibtex": "bib", "text": "txt", "vim-script": "vim", "gdscript": "gd", "haxe": "hx"},
        **{"apex": "apex", "abap": "abap", "stata": "do ado", "sas": "sas", "mojo": "mojo"},
        **{"diff": "diff patch", "jupyter": "ipynb", "jinja": "j2 jinja jinja2", "wgsl": "wgsl"},
    }.items()
    for suffix in suffixes.split()
}
NAMES = {
    **dict.fromkeys(("makefile", "gnumakefile", "makefile.am", "makefile.in", "kbuild"), "make"),
    **dict.fromkeys(("dockerfile", "containerfile"), "dockerfile"),
    **dict.fromkeys(("rakefile", "gemfile", "vagrantfile", "podfile", "brewfile"), "ruby"),
    **dict.fromkeys(("build", "workspace", "build.bazel", "module.bazel"), "bazel"),
    **dict.fromkeys(("readme", "license", "licence", "copying", "authors", "notice"), "text"),
    **dict.fromkeys(("changelog", "changes", "news", "todo", "install", "contributing"), "text"),
    **{"cmakelists.txt": "cmake", "meson.build": "meson", "jenkinsfile": "groovy"},
    **{"go.mod": "go", "go.sum": "go", "cargo.lock": "toml", "pipfile": "toml", "justfile": "make"},
    **{"sconstruct": "python", "sconscript": "python", "wscript": "python"},
}
INTERPRETERS = {
    **{"python": "python", "node": "javascript", "deno": "typescript", "bash": "shell"},
    **{"sh": "shell", "zsh": "shell", "ksh": "shell", "dash": "shell", "fish": "shell"},
    **{"perl": "perl", "ruby": "ruby", "php": "php", "lua": "lua", "tclsh": "tcl", "wish": "tcl"},
    **{"awk": "awk", "gawk": "awk", "rscript": "r", "julia": "julia", "runhaskell": "haskell"},
    **{"guile": "scheme", "racket": "racket", "make": "make", "pwsh": "powershell"},
    **{"groovy": "groovy", "scala": "scala", "escript": "erlang", "elixir": "elixir"},
}
# suffix -> (another language, what then stands in the text)
AMBIGUOUS = {
    "h": ("c++", re.compile(rb"^\s{0,40}(?:namespace|template\s?<|class \w+|using \w)", re.M)),
    "m": (
        "objective-c",
        re.compile(rb"^\s{0,40}(?:@interface|@implementation|#import|@end)", re.M),
    ),
    "pl": ("prolog", re.compile(rb"^:-", re.M)),
    "v": ("coq", re.compile(rb"^(?:Require|Theorem|Lemma|Proof)\b", re.M)),
    "ts": ("xml", re.compile(rb"\A<\?xml")),
    "cls": ("apex", re.compile(rb"^(?:public|private|global) ", re.M)),
    "cl": ("opencl", re.compile(rb"\b__kernel\b")),
}
_SHEBANG = re.compile(rb"#!\s?(?:\S{0,200}/)?(?:env\s+(?:-S\s+)?)?([A-Za-z]{1,20})")


def by_name(name: str) -> str | None:
    """The language that a file's name alone tells."""
    lower = name.rpartition("/")[2].lower()
    stem, dot, suffix = lower.rpartition(".")
    if lower in NAMES or stem in ("dockerfile",):
        return NAMES.get(lower, "dockerfile")
    return SUFFIXES.get(suffix) if dot else None


def may_be_script(name: str) -> bool:
    """Whether only the first line can tell: the name has no suffix."""
    return "." not in name.rpartition("/")[2]


def language_of(name: str, head: bytes) -> str | None:
    """The language of a file by its name and its first bytes."""
    language = by_name(name)
    suffix = name.rpartition(".")[2].lower()
    if language and suffix in AMBIGUOUS:
        other, pattern = AMBIGUOUS[suffix]
        return other if pattern.search(head[:20_000]) else language
    if language is None and may_be_script(name):
        found = _SHEBANG.match(head)
        if found:
            interpreter = re.sub(r"[\d.]+$", "", found[1].decode().lower())
            return INTERPRETERS.get(interpreter)
    return language
