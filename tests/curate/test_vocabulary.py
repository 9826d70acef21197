"""Words of many texts at once are the words of each."""

from pretrain.curate.vocabulary import Vocabulary


def words_of(cut, *texts):
    words = Vocabulary(cut).read([text.split() for text in texts])
    return [[words.names[i] for i in words.numbers[words.span(d)]] for d in range(len(texts))]


def test_cuts():
    text = "(Don't go) to _x_ 3.14,5 a.b c. 中文 e\u0301t"
    assert words_of("runs", text) == [text.split()]
    english = ["(", "Do", "n't", "go", ")", "to", "_", "x", "_", "3.14,5", "a.b", "c.", "中文"]
    assert words_of("english", text)[0][:-1] == english
    assert words_of("unicode", text)[0] == [
        *("Don't", "go", "to", "3.14,5", "a.b", "c", "中", "文", "e\u0301t")
    ]


def test_texts_keep_their_words_apart():
    texts = ["a b a", "", "...", "b", "c don't"]
    assert words_of("english", *texts) == [["a", "b", "a"], [], ["..."], ["b"], ["c", "do", "n't"]]
    words = Vocabulary("english").read([text.split() for text in texts])
    assert [words.n(d) for d in range(5)] == [3, 0, 1, 1, 3]
    assert words.of(0) == {"a", "b"}
    assert words.of(1) == set()
    assert words.sums(words.length, words.is_word) == [(3, 3), (0, 0), (3, 0), (1, 1), (6, 3)]
    assert [words.median_length(d) for d in range(3)] == [1, 0, 3]


def test_hashes_are_of_words_not_of_their_order():
    one = Vocabulary("runs").read([["a", "b"]])
    other = Vocabulary("runs").read([["b"], ["a"]])
    assert one.hashes.tolist() == other.hashes.tolist()[::-1]


def test_sentences_begin_at_the_token_after_an_end():
    vocabulary = Vocabulary("english")
    for text, n in [
        ("He went home. She did not.", 2),
        ("Dr. No came (at last).", 1),
        ('He said: "Go!" And left.', 2),
        ("Wait... what", 1),
        ("", 0),
        ("...", 1),
        (". . a", 2),
    ]:
        assert vocabulary.sentences(text.split()) == n, text
