import numpy as np
import pytest

from pretrain.curate import phrases
from pretrain.curate.compiled import kernel


@kernel
def found_by_walk(data, end):
    """What the walk finds: phrases by their last word, where it follows a space."""
    bits = 0
    for i in range(1, end):
        if data[i - 1] == 32 and phrases.may_end_phrase(phrases.load(data, i)):
            found = phrases.phrase_ending_in(data, i, 0, end)
            if found >= 0:
                bits |= 1 << found
    return bits


def found(text):
    raw = text.encode()
    return found_by_walk(np.frombuffer(raw + bytes(8), np.uint8), len(raw))


@pytest.mark.parametrize("phrase", phrases.PHRASES)
def test_each_phrase_is_found_in_any_case_inside_of_words_and_at_the_ends(phrase):
    own = 1 << phrases.PHRASES.index(phrase)
    for text in (phrase, phrase.upper(), f"re{phrase}s", f"a {phrase.title()}."):
        assert found(text) & own
    for text in (phrase[1:], phrase[:-1], phrase.replace(" ", "  "), phrase.replace(" ", "\0")):
        assert not found(text) & own


def test_javascript_is_found_in_any_run_of_letters():
    for text, there in (("javascript", 1), ("aJavaScripts", 1), ("javascrip", 0), ("java", 0)):
        data = np.frombuffer(text.encode(), np.uint8)
        assert phrases.has_javascript(data, 0, len(data)) == there


@pytest.mark.parametrize(
    ("text", "begin"),
    [("http://a", 0), ("(HTTPS://", 1), ("xhttp://", 1), ("ftp://a", -1), ("http:/a", -1),
     ("ttp://", -1), ("s://", -1), ("https:a/", -1)],
)  # fmt: skip
def test_where_an_address_begins(text, begin):
    data = np.frombuffer(text.encode() + bytes(8), np.uint8)
    assert phrases.url_from(data, text.index(":"), 0) == begin
