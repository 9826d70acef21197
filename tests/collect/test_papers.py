from hypothesis import given
from hypothesis import strategies as st

from pretrain.collect.papers import assemble, is_root

ROOT = b"\\documentclass{article}\n"


def joined(files: dict[str, bytes], most: int = 10_000) -> dict[str, bytes | None]:
    return {name: data for name, data, _ in assemble(files, most)}


def test_which_file_is_a_paper() -> None:
    assert is_root(b"% x\n\\documentclass[a]{b}")
    assert is_root(b"\\documentstyle{article}")
    assert not is_root(b"% \\documentclass{b}")
    assert not is_root(b"\\section{A}")


def test_inputs_are_put_in_their_place() -> None:
    files = {
        "p/main.tex": ROOT + b"a \\input{s/one} b \\include{two.tex} c \\input three d",
        "p/s/one.tex": b"ONE \\input{s/deep}",
        "p/s/deep.tex": b"DEEP",
        "p/two.tex": b"TWO",
        "p/three.tex": b"THREE",
        "p/rest.tex": b"REST",
    }
    found = joined(files)
    assert found["p/main.tex"] == ROOT + b"a ONE DEEP b TWO c THREE d"
    assert found["p/rest.tex"] == b"REST"
    assert [n for n, data in found.items() if data is None] == [
        *("p/s/one.tex", "p/s/deep.tex", "p/two.tex", "p/three.tex"),
    ]
    assert list(found) == list(files)


def test_what_is_not_an_input_stays() -> None:
    main = ROOT + b"% \\input{one}\nx 5\\% \\input{one} \\input{missing} \\inputenc{one}"
    found = joined({"main.tex": main, "one.tex": b"ONE"})
    assert found["main.tex"] == main.replace(b"\\% \\input{one}", b"\\% ONE")


def test_without_a_paper_each_stands_alone() -> None:
    files = {"a.tex": b"\\input{b}", "b.tex": b"B"}
    assert joined(files) == files


def test_circles_and_doublings_end() -> None:
    assert joined({"a.tex": ROOT + b"x \\input{a} y"})["a.tex"] == ROOT + b"x  y"
    doubling = {f"{n}.tex": b"x\\input{%d}\\input{%d}" % (n + 1, n + 1) for n in range(60)}
    doubling["0.tex"] = ROOT + doubling["0.tex"]
    found = joined(doubling, most=5000)["0.tex"]
    assert found is not None
    assert len(found) <= 5000
    empty = {f"{n}.tex": b"\\input{%d}" % (n + 1) * 10 for n in range(60)}
    empty["0.tex"] = ROOT + empty["0.tex"]
    assert joined(empty, most=1 << 20)["0.tex"] is not None


def test_many_inputs_in_one_line() -> None:
    line = b"x" * 1000 + b"\\input{b}" * 5000
    assert joined({"a.tex": ROOT + line}, most=1 << 24)["a.tex"] == ROOT + line


@given(st.dictionaries(st.sampled_from("abc"), st.binary(max_size=80), max_size=3))
def test_every_file_comes_once(files: dict[str, bytes]) -> None:
    files = {f"{n}.tex": data.replace(b"\0", b"\\input{a}") for n, data in files.items()}
    assert list(joined(files)) == list(files)
