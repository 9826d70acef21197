"""Formulas of a page: TeX, once, in every form in which pages hold them."""

import pytest

from pretrain.collect.extract import answer_to

MATHML = "<math {more}><mi>x</mi><annotation encoding='application/x-tex'>{tex}</annotation></math>"


def text_around(form: str) -> str:
    page = f"<main><p>{9 * 'Some words. '}So {form} holds.</p></main>"
    return " ".join(answer_to("html", page.encode())["text"].split())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (MATHML.format(more="", tex="x^2"), "$x^2$"),
        (MATHML.format(more="display=block", tex="\\sum_i i"), "$$\\sum_i i$$"),
        ("<math alttext='{\\displaystyle a_{1}}'><mi>a</mi></math>", "$a_{1}$"),
        ("<math alttext='{\\displaystyle a}{b}'><mi>a</mi></math>", "${\\displaystyle a}{b}$"),
        ("<math><mi>y</mi><mo>=</mo><mn>2</mn></math>", "y=2"),
        ("<script type='math/tex'>y_1 < 2</script>", "$y_1 < 2$"),
        ("<script type='math/tex; mode=display'>y% remark\n+1</script>", "$$y+1$$"),
        ("<span class=MathJax_Preview>yy</span><span class=MathJax>yy</span>"
         "<script type='math/tex'>y</script>", "$y$"),
        ("<span class=katex><span class=katex-mathml>" + MATHML.format(more="", tex="k") +
         "</span><span class=katex-html>kk</span></span>", "$k$"),
        ("<span class=katex><span class=katex-html>kk</span></span>", "kk"),
        ("<img class='mwe-math-fallback-image-inline' alt='{\\displaystyle z}'>", "$z$"),
        ("<img class='mwe-math-fallback-image-display' alt='z'>", "$$z$$"),
        ("<img class=\"latex\" alt='\\pi'>", "$\\pi$"),
        ("<img class=\"latex\" alt='$\\pi$'>", "$\\pi$"),
        ("<span class=mwe-math-element>" + MATHML.format(more="", tex="w") +
         "<img class='mwe-math-fallback-image-inline' alt='w'></span>", "$w$"),
        ("\\(a+b\\)", "\\(a+b\\)"),
        ("$$a+b$$", "$$a+b$$"),
    ],
)  # fmt: skip
def test_mathematics_is_tex_in_the_text_once(form: str, expected: str) -> None:
    assert f"So {expected} holds." in text_around(form)


def test_a_formula_in_a_table_of_data_stays_in_its_cell() -> None:
    table = "<table><tr><td>a<td><math alttext='x'></math><tr><td>b<td>c</table>"
    page = f"<main><p>{9 * 'Some words. '}</p>{table}</main>"
    assert "a | $x$\nb | c" in answer_to("html", page.encode())["text"]
