"""Three ways to count repeated n-grams, worked out by hand."""

import numpy as np

from pretrain.curate import ngrams


def counted(way, *texts):
    words = [word for text in texts for word in text.split()]
    names = sorted(set(words))
    hashes = np.array([names.index(word) + 1 for word in words], np.uint64)
    lengths = np.array([len(word) for word in words], np.int64)
    ends = np.cumsum([len(text.split()) for text in texts]).astype(np.int64)
    chars = np.zeros((len(texts), 11), np.int64)
    weights = np.zeros_like(chars)
    ngrams.count(hashes, lengths, ends, way, chars, weights)
    return chars, weights


def test_the_most_frequent_of_equals():
    text = "a b c dd a b c dd"
    assert counted(ngrams.DATATROVE, text)[0][0, 2] == 2 * 3  # 'a b', the first, and its space
    assert counted(ngrams.DCLM, text)[0][0, 2] == 2 * 3  # 'c dd', the longest, without a space
    assert counted(ngrams.DOLMA, text)[0][0, 2] == 2 * 2
    assert counted(ngrams.DATATROVE, "a b c")[0][0, 2] == 3
    assert counted(ngrams.DCLM, "a b c")[0][0, 2] == 0


def test_repeated_ones():
    text = "a a a a a a a a a a a"
    assert counted(ngrams.DATATROVE, text)[0][0, 5] == 10 - 5 + 5
    assert counted(ngrams.DCLM, text)[0][0, 5] == 11
    chars, weights = counted(ngrams.DOLMA, "a b c d e x a b c d e")
    assert (chars[0, 5], weights[0, 5]) == (10, 35)


def test_texts_are_counted_apart():
    chars, _ = counted(ngrams.DATATROVE, "a b c d e", "", "a b c d e", "x")
    assert chars[:, 5].tolist() == [0, 0, 0, 0]
    assert chars[:, 2].tolist() == [3, 0, 3, 0]
