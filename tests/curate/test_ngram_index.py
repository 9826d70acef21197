from pretrain.curate import ngram_index
from pretrain.curate.ngram_index import Index


def entry(item: int, text: str, field: str = "q", benchmark: str = "b") -> tuple[object, ...]:
    return benchmark, item, "f", item + 1, field, text


def words(name: str, n: int) -> str:
    return " ".join(f"{name}{i}" for i in range(n))  # different, and neither number nor letter


def build(*entries: tuple[object, ...], n_words: int = 13) -> Index:
    return ngram_index.build(entries, n_words)  # type: ignore[arg-type]


def places(index: Index) -> list[tuple[str, str, int, int]]:
    """(benchmark, field, item, n-grams) of the index's texts."""
    rows = index.entries.to_pylist()
    return [(r["benchmark"], r["field"], r["item"], r["n_grams"]) for r in rows]


def test_every_run_of_words_is_in_the_index_with_its_place() -> None:
    index = build(entry(0, words("a", 15)), entry(1, words("b", 13)))
    assert len(index.arrays["keys"]) == 4
    assert places(index) == [("b", "q", 0, 3), ("b", "q", 1, 1)]
    text = index.entries["text"][0].as_py()
    spans = zip(*(index.arrays[n].tolist() for n in ("entry", "start", "end")), strict=True)
    assert {text[s:e] for row, s, e in spans if row == 0} == {
        " ".join(text.split()[i : i + 13]) for i in range(3)
    }
    assert index.arrays["item_grams"].tolist() == [3, 1]


def test_short_texts_are_one_run_and_shorter_ones_are_counted() -> None:
    index = build(
        entry(0, words("a", 8)),
        entry(0, words("a", 7), "c"),
        entry(1, words("b", 7)),
        entry(2, words("c", 5)),
        entry(2, words("d", 3), "c"),
        entry(3, ""),
    )
    assert places(index) == [
        ("b", "q", 0, 1), ("b", "c", 0, 0), ("b", "q", 1, 0), ("b", "q", 2, 0), ("b", "c", 2, 0),
        ("b", "*", 2, 1), ("b", "q", 3, 0),
    ]  # fmt: skip
    assert index.arrays["lengths"].tolist() == [8]
    assert (index.about["b"]["items"], index.about["b"]["too_short"]) == (4, 2)


def test_with_few_words_nothing_is_shorter_than_a_run() -> None:
    index = build(entry(0, "one two three"), entry(1, "one two"), n_words=3)
    assert len(index.arrays["keys"]) == 1
    assert index.arrays["lengths"].tolist() == []
    assert index.about["b"]["too_short"] == 1


def test_what_many_items_share_is_ignored_and_told() -> None:
    prompt = words("prompt", 14)
    entries = [entry(i, f"{prompt} {words(f'own{i}_', 20)}") for i in range(11)]
    index = build(*entries)
    about = index.about["b"]
    assert about["ignored_n_grams"] == 2
    example = {"text": " ".join(prompt.split()[:13]), "items": 11}
    assert about["ignored_examples"][0] == example
    assert about["only_ignored"] == 0
    assert build(*entries[:10]).about["b"]["ignored_n_grams"] == 0


def test_an_instruction_is_ignored_but_a_passage_of_many_questions_is_not() -> None:
    passage = words("passage", 20)
    asked = [entry(i, passage, "context") for i in range(12)]
    others = [entry(i, words(f"other{i}_", 20), "context") for i in range(12, 300)]
    index = build(*asked, *others)
    assert index.about["b"]["ignored_n_grams"] == 0
    assert index.arrays["item_grams"][:12].tolist() == [8] * 12
    index = build(*(entry(i, passage, "instruction") for i in range(12)))
    assert index.about["b"]["ignored_n_grams"] == 8
    assert index.about["b"]["only_ignored"] == 12


def test_benchmarks_are_counted_apart_but_what_one_ignores_is_looked_for_in_none() -> None:
    shared = words("shared", 13)
    first = [entry(i, f"{shared} {words(f'own{i}_', 20)}", benchmark="one") for i in range(11)]
    index = build(*first, entry(0, f"{shared} x", benchmark="two"))
    assert index.about["one"]["ignored_n_grams"] == 1
    assert index.about["two"]["ignored_n_grams"] == 0
    assert places(index)[-1] == ("two", "q", 0, 1)


def test_a_run_that_an_item_repeats_counts_once() -> None:
    text = words("a", 13)
    index = build(entry(0, text), entry(0, f"{text} {text}", "c"))
    assert index.arrays["item_grams"].tolist() == [13]


def test_texts_are_normalised_as_documents_are() -> None:
    composed = " ".join(f"é{i}" for i in range(13))
    assert (
        build(entry(0, composed)).arrays["keys"].tolist()
        == build(entry(0, composed.replace("é", "e\u0301"))).arrays["keys"].tolist()
    )


def test_counting_is_not_looked_for_but_figures_are() -> None:
    count, letters = " ".join(map(str, range(1, 20))), ", ".join("abcDEFghijklmnop")
    index = build(entry(0, count), entry(1, letters), entry(2, "ha " * 14))
    assert (index.about["b"]["n_grams"], index.about["b"]["counting_n_grams"]) == (0, 7 + 4 + 2)
    assert index.about["b"]["only_ignored"] == 3
    sums = "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) = 84 - 17 + 260 - 39"
    index = build(entry(0, sums), entry(1, "日本語の文" * 3), entry(2, f"{count} then"))
    assert index.arrays["item_grams"].tolist() == [1, 3, 0]
