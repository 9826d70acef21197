"""The page of an answer: three pictures, all that the terminal prints, nothing from elsewhere."""

from pretrain import cli
from pretrain.plan import answer, answer_text, plan_page
from pretrain.plan.question import Question
from tests.report.conftest import Page


def page_of(**asked):
    found = answer.answer(Question(**asked))
    return found, Page(plan_page.page(found))


def test_a_page_has_the_pictures_and_the_terminals_words():
    found, page = page_of(hardware="H100", count=16, parameters=1e9, tokens=2e10, price=1.5)
    assert page.faults == []
    assert not {tag for tag, _ in page.tags} & {"link", "img", "iframe"}
    charts = [a["aria-label"] or "" for t, a in page.tags if a.get("role") == "img"]
    for title in ("Loss over compute", "Step time and memory"):
        assert len([c for c in charts if c.startswith(title)]) == 1
    cells = {cell for row in page.rows for cell in row}
    for _, text in answer_text.network(found) + answer_text.after(found):
        assert text in cells
    for layout in found.told["layouts"]:
        assert {layout["said"], layout["why"]} <= cells
    for name in found.told["mfu"]:
        assert name in cells
    bars = [c for c in charts if "final run $" in c]
    assert len(bars) == 1
    parts = found.told["cost"]["parts"]
    assert all(f"{name} ${usd:,.0f}" in bars[0] for name, usd in parts.items() if usd >= 1)


def test_without_a_price_there_is_no_bar_of_cost():
    _, page = page_of(hardware="L40S", count=8, parameters=1e9, tokens=2e10)
    assert "no price is known; give --price USD_PER_HOUR" in page.text
    assert "final run" not in page.text


def test_one_device_has_bars_and_no_chart_of_layouts():
    _, page = page_of(hardware="L40S", count=1, parameters=1e8, tokens=2e9)
    charts = [a["aria-label"] or "" for t, a in page.tags if a.get("role") == "img"]
    assert not [c for c in charts if c.startswith("Step time and memory")]
    assert [c for c in charts if "activations" in c and "GiB" in c]


def test_the_command_writes_it(tmp_path, capsys):
    path = tmp_path / "plan.html"
    asked = ["--hardware", "H100", "--parameters", "1b", "--tokens", "20b", "--page", str(path)]
    assert cli.command(["plan", *asked]) == 0
    assert "6N + 12LdS" in capsys.readouterr().out
    assert path.read_text().startswith("<!doctype html>")


def test_a_page_of_a_recipe_alone_is_a_question(tmp_path, capsys):
    """It is refused with what is missing, and no stage begins."""
    asked = ["plan", "recipes/laptop.toml", "--page", str(tmp_path / "x.html"), "--runs"]
    assert cli.command([*asked, str(tmp_path)]) != 0
    assert "--hardware NAME or --this-machine must be given" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
