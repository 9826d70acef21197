"""An HTML file that loads nothing: no script, style, font or picture from elsewhere.

A content security policy says so to the browser. The page is complete without JavaScript, which
adds read-outs under the pointer. The report, the plan's page and the fits' page are such files.
"""

from importlib import resources

from pretrain.report.markup import Child, Markup, element, join

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def document(title: str, *body: Child) -> str:
    """The whole file, with the style sheet and the script of all pages."""
    top = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("style", Markup(_asset("style.css"))),
    )
    below = element("body", *body, element("script", Markup(_asset("script.js"))))
    return join([Markup("<!doctype html>\n"), element("html", top, below, lang="en")]) + "\n"


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
