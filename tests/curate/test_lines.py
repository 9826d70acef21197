"""Line rules cut what they say, and their edits replayed give the text."""

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain.curate import edits, lines

GOOD = "This line has words and an end."


def cut(text: str, mode: str) -> str:
    (after,), _, _ = (x for x in lines.cut(pa.array([text], pa.large_string()), mode))
    return after.as_py()


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (GOOD, GOOD),
        ("No end of a sentence here", ""),
        ("It trails off in dots...", ""),
        ("Too short.", ""),
        ("Please enable JavaScript to go on.", ""),
        ("Read our Privacy Policy before you go on.", ""),
        ("As was shown[12] it is so[citation needed].", "As was shown it is so."),
        ("As was shown by them.[12]", "As was shown by them."),
        ("[edit] two. [1]", " two. "),
        ("[edit] two", ""),
        ("“He said that it was so.”", "“He said that it was so.”"),
        ("a b " + "x" * 1001 + ".", ""),
        ("", ""),
    ],
)
def test_c4(line: str, left: str) -> None:
    assert cut(line, "c4") == left
    assert cut(f"{GOOD}\n{line}\n{GOOD}\n", "c4") == (
        f"{GOOD}\n{left}\n{GOOD}\n" if left or not line else f"{GOOD}\n{GOOD}\n"
    )


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (GOOD, GOOD),
        ("word", ""),
        ("12345", ""),
        ("12 345", None),
        ("3 likes", ""),
        ("(1.2K Views)", ""),
        ("12 monkeys", None),
        ("ÉTÉ À PARIS", ""),
        ("Äpfel Ünd X", None),
        ("BUY IT NOW FOR LESS", ""),
        ("You have 3 items in cart today", "You have 3 today"),
        ("A story of note Read more...", "A story of note"),
        ("Sign-in to see it", "to see it"),
        ("Read more... Read more...", "Read more..."),
        ("items in cart", ""),
        ("ten words or more are no short line and items in cart stay", None),
    ],
)
def test_refinedweb(line: str, left: str | None) -> None:
    assert cut(line, "refinedweb") == (line if left is None else left)


@settings(deadline=None)  # the first example compiles
@given(st.text(alphabet='ab. 9\nÄß[]!“”"x', max_size=300), st.sampled_from(["c4", "refinedweb"]))
def test_edits_replayed_give_the_text(text: str, mode: str) -> None:
    texts = pa.array([text, GOOD], pa.large_string())
    after, made, fraction = lines.cut(texts, mode)
    assert edits.replay(text.encode(), made[0] or []).decode() == after[0].as_py()
    assert (made[0] is None) == (text == after[0].as_py())
    assert 0 <= fraction[0] <= 1
    assert made[1] is None


def test_the_share_of_words_that_went() -> None:
    texts = pa.array([f"{GOOD}\nfour words go here\n", GOOD, ""], pa.large_string())
    _, _, fraction = lines.cut(texts, "c4")
    assert fraction.tolist() == [4 / 11, 0, 0]


def test_none_touches_nothing() -> None:
    texts = pa.array(["a\nb"], pa.large_string())
    after, made, _ = lines.cut(texts, "none")
    assert after is texts
    assert made == [None]


@settings(deadline=None)  # the first example compiles
@given(st.text(alphabet="ab. 9\nÄß[]!“”\"x'edit", max_size=300))
def test_c4_is_what_a_naive_reading_of_its_rules_leaves(text: str) -> None:
    kept = []
    for line in text.split("\n"):
        bare = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        end = bare.rstrip()
        good = end.endswith((".", "?", "!", '"', "'", "”", "’")) and not end.endswith("...")
        if not line.strip() or (good and len(line.split()) >= 3):
            kept.append(bare if line.strip() else line)
    # the last line has no break of its own, so one that goes leaves the break before it
    assert cut(text, "c4").rstrip("\n") == "\n".join(kept).rstrip("\n")
