"""Points lie where their values are, tell what they are, and the limit stands between them."""

from pretrain.report.scatter import Group, scatter
from tests.report.conftest import EVIL, whole


def test_points_and_their_limit() -> None:
    groups = [
        Group("does not fit", "outside", [(90.0, 2.0, EVIL)]),
        Group("fits", "s1", [(20.0, 4.0, "a"), (40.0, 3.0, "b")]),
        Group("chosen", "s2 chosen", [(60.0, 2.5, "c: 2.5 s")]),
    ]
    made = scatter("Layouts", groups, "seconds", "GiB", (80.0, "80 GiB may be used"))
    page = whole(made)
    circles = [a for t, a in page.tags if t == "circle"]
    across = [float((c["cx"] or "").rstrip("%")) for c in circles]
    upwards = [-float(c["cy"] or 0) for c in circles]
    assert [c["class"] for c in circles][-1] == "point s2 chosen"  # above the others
    assert sorted(across) == [across[i] for i in (1, 2, 3, 0)]
    assert sorted(upwards) == [upwards[i] for i in (0, 3, 2, 1)]
    (limit,) = (a for t, a in page.tags if a.get("class") == "level")
    assert across[3] < float((limit["x1"] or "").rstrip("%")) < across[0]
    for word in ("fits (2)", "chosen (1)", "80 GiB may be used", "b", "log scale across"):
        assert (word in page.text) == (word != "log scale across")
    label = next(a["aria-label"] for t, a in page.tags if a.get("role") == "img")
    assert (
        label
        == "Layouts: "
        + "; ".join(["does not fit: 1 points", "fits: 2 points", "chosen: 1 points"])
        + f"; {shown(EVIL)}; c: 2.5 s"
    )


def shown(text: str) -> str:
    return text.replace("\x1b", "␛").replace("\u202e", "⟨U+202E⟩")


def test_what_differs_tenfold_is_drawn_by_its_logarithm() -> None:
    group = Group("fits", "s1", [(1.0, 1.0, "a"), (10.0, 2.0, "b"), (100.0, 3.0, "c")])
    page = whole(scatter("Layouts", [group], "seconds", "GiB"))
    places = [float((a["cx"] or "").rstrip("%")) for t, a in page.tags if t == "circle"]
    assert abs(places[1] - 50) < 0.1
    assert "log scale across" in page.text


def test_nothing_to_draw_is_said() -> None:
    assert "nothing to draw" in scatter("Layouts", [], "seconds", "GiB")
