"""Three encoders, one file, the same ids: tiktoken, `tokenizers` and `transformers`."""

import gzip
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pretrain.errors import DataError
from pretrain.tokenize import bpe
from pretrain.tokenize.encode import Encoder, agrees, supports_tiktoken

from ..conftest import DATA
from .conftest import texts

EVERY = sorted(bpe.PATTERNS)

_PIECES = (
    " ", "  ", "\t", "\n", "\r\n", "\r", "\v\f", "\x85\xa0\u2028\u3000", " " * 300, "\n" * 80,
    "0", "1234567890", "٣٤", "½²", "'s", "'LL", "'ſ", "it's", "e\u0301", "\u0301" * 9, "ÅÅ", "ﬁ",
    "a" * 3000, "=" * 700, "the river", " stones", "Straße", "河流", "नदी", "नमस्ते", "عربي", "😀",
    "👩‍👩‍👧", "🏳️‍🌈", "\x00", "\x1c\x1d", "\ufeff", "\U0010ffff", "\U000e0041", "𝒜𝟙",
    "<|", "|>", "<|endoftext|>",
)  # fmt: skip
_TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(_PIECES), max_size=12).map("".join),
    st.lists(st.one_of(st.sampled_from(_PIECES), st.text(max_size=4)), max_size=16).map("".join),
)


@pytest.fixture(scope="module")
def engines(folders):
    """Pattern -> (tiktoken, tokenizers, transformers) encoders of the same file."""
    from transformers import AutoTokenizer

    table = {}
    for pattern, folder in folders.items():
        path = folder / "tokenizer.json"
        theirs = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, split_special_tokens=True
        )
        table[pattern] = Encoder(path, "tiktoken"), Encoder(path, "tokenizers"), theirs
    return table


@pytest.mark.parametrize("pattern", EVERY)
@settings(max_examples=100, deadline=None)
@given(text=_TEXT)
@example(text="a" * 3000)
@example(text="  \u2003\u3000 x \r\n\r\n\t y  ")
def test_three_encoders_agree_and_the_text_comes_back(engines, pattern, text):
    fast, slow, theirs = engines[pattern]
    ids = fast.encode(text)
    assert slow.encode(text) == ids
    assert theirs.encode(text, add_special_tokens=False) == ids
    assert fast.decode(ids) == slow.decode(ids) == text


@pytest.mark.parametrize("pattern", EVERY)
def test_all_planes_are_split_alike(engines, pattern):
    """Every 13th code point between letters, digits and spaces: both regex engines know Unicode."""
    fast, slow, _ = engines[pattern]
    points = [c for c in range(0, 0x32000, 13) if not 0xD800 <= c < 0xE000]
    points += range(0xE0000, 0xE01F0, 5)
    text = "".join(f"a{chr(c)}b 1{chr(c)}2 {chr(c)} '{chr(c)}" for c in points)
    assert fast.encode(text) == slow.encode(text)
    assert fast.decode(fast.encode(text)) == text


def _zipped(path):
    return gzip.decompress(path.read_bytes()).decode()


def _real_documents() -> list[str]:
    """1,000 documents in 80 languages, books, code and technical text, 2,000 characters each."""
    found = [p.read_text() for p in sorted((DATA / "lid/udhr").glob("*.txt"))]
    for path in sorted((DATA / "lid/lingua-sentences/dev").glob("*.gz")):
        lines = _zipped(path).splitlines(keepends=True)
        found += ["".join(lines[i : i + 10]) for i in range(0, 70, 10)]
    for path in sorted((DATA / "books").glob("eltec-*/*.gz")):
        text = _zipped(path)
        found += [text[i : i + 2000] for i in range(5000, 5000 + 9 * 2000, 2000)]
    for path in sorted((DATA / "code").glob("*.gz")):
        found += [json.loads(line)["content"] for line in _zipped(path).splitlines()][:25]
    for path in sorted((DATA / "tech").glob("*.jsonl.gz")):
        found += [json.loads(line)["text"] for line in _zipped(path).splitlines()]
    return [text[:2000] for text in found]


@pytest.mark.skipif(not DATA.exists(), reason=f"{DATA} is absent")
def test_three_encoders_agree_on_a_thousand_real_documents(engines):
    documents = _real_documents()[:1000]
    assert len(documents) == 1000
    for n, text in enumerate(documents):
        fast, slow, theirs = engines[EVERY[n % 3]]
        ids = fast.encode(text)
        assert slow.encode(text) == ids
        assert theirs.encode(text, add_special_tokens=False) == ids
        assert fast.decode(ids) == text


@pytest.mark.parametrize("engine", ["tiktoken", "tokenizers"])
def test_special_names_in_text_are_plain_text(folders, engine):
    encoder = Encoder(folders["llama3"] / "tokenizer.json", engine)
    for name in encoder.specials:
        ids = encoder.encode(f"x {name}y")
        assert not set(ids) & set(encoder.specials.values())
        assert encoder.decode(ids) == f"x {name}y"
    assert encoder.token_bytes(encoder.end_of_text) == b"<|endoftext|>"


def test_a_run_of_a_million_spaces_is_encoded(folders):
    """tiktoken alone panics here (its regular expression backtracks once per space)."""
    path = folders["llama3"] / "tokenizer.json"
    text = "x" + " " * 1_000_000 + "y"
    ids = Encoder(path, "tiktoken").encode(text)
    assert Encoder(path, "tokenizers").decode(ids) == text


def test_agrees_sees_a_difference(folders, tmp_path):
    """A file whose merges do not follow from its ids is no case for tiktoken."""
    path = folders["llama3"] / "tokenizer.json"
    assert supports_tiktoken(path)
    assert agrees(path, texts())
    content = json.loads(path.read_bytes())
    del content["model"]["merges"][0]
    other = tmp_path / "tokenizer.json"
    other.write_bytes(bpe.dumps(content))
    assert not agrees(other, texts())


def _word_level() -> Tokenizer:
    words = ["<unk>", "river", "stones", "the", "over", "</s>"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


def _unigram() -> Tokenizer:
    pieces = [("<unk>", 0.0), ("</s>", 0.0)]
    pieces += [(p, -float(i)) for i, p in enumerate(["▁", "▁river", "▁the", *"aehinorstv"], 1)]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["</s>"])
    return tokenizer


def _llama_2() -> Tokenizer:
    """BPE over characters with '▁' for spaces and bytes for the rest, as Llama 1 and 2 have it."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), "▁"]
    pieces += [*"abcdefghijklmnopqrstuvwxyz.", "th", "the", "▁r"]
    vocabulary = {p: i for i, p in enumerate(pieces)}
    merges = [("t", "h"), ("th", "e"), ("▁", "r")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def _gpt_2() -> Tokenizer:
    """Byte-level BPE as GPT-2 writes it: no Split step, so the fast encoder does not know it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet,
        show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


FOREIGN = {
    "word level": (_word_level, "</s>", False),
    "unigram": (_unigram, "</s>", False),
    "llama 2": (_llama_2, "</s>", True),
    "gpt-2": (_gpt_2, "<|endoftext|>", True),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_tokenizer_serves_with_its_own_ids(name, tmp_path):
    make, separator, exact = FOREIGN[name]
    tokenizer = make()
    tokenizer.enable_truncation(2)  # some published files carry one: it must not cut documents
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    tokenizer.no_truncation()
    encoder = Encoder(tmp_path / "tokenizer.json")
    assert encoder.engine == "tokenizers"
    assert not supports_tiktoken(tmp_path / "tokenizer.json")
    text = "the river over the stones over the river"
    assert encoder.encode(text) == tokenizer.encode(text, add_special_tokens=False).ids
    assert len(encoder.encode(text)) > 2
    assert encoder.separator == separator
    assert encoder.end_of_text == tokenizer.token_to_id(separator)
    assert encoder.vocab_size == tokenizer.get_vocab_size()
    if exact:
        for wild in (text, "déjà\nvu 河 😀 the  river", f"a {separator} b"):
            assert encoder.decode(encoder.encode(wild)) == wild
            assert encoder.end_of_text not in encoder.encode(wild)


def test_an_encoder_with_tokens_outside_the_bytes_is_not_given_to_tiktoken(folders, tmp_path):
    """Added tokens that are not special must be found in text, which tiktoken does not do."""
    tokenizer = Tokenizer.from_file(str(folders["llama3"] / "tokenizer.json"))
    tokenizer.add_tokens(["river runs"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert not supports_tiktoken(tmp_path / "tokenizer.json")
    encoder = Encoder(tmp_path / "tokenizer.json")
    ids = encoder.encode("The river runs over")
    assert encoder.vocab_size - 1 in ids
    assert encoder.decode(ids) == "The river runs over"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'"text"',
        b'{"added_tokens": [], "model": {"vocab": 3}}',
        b'{"added_tokens": [], "model": {"type": "No", "vocab": {"a": 0}}}',
        b'{"added_tokens": 1, "model": {"type": "BPE", "vocab": {}, "merges": []}}',
    ],
)
def test_what_is_no_tokenizer_names_the_recipe_key(content, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"recipe key tokenize\.path") as caught:
        Encoder(path)
    assert str(path) in str(caught.value)
    with pytest.raises(DataError, match=r"recipe key tokenize\.path"):
        Encoder(tmp_path / "absent.json")


def test_a_tokenizer_without_separator_is_refused(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1}, unk_token="<unk>"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(DataError, match=r"no token that ends a document.*tokenize\.path"):
        Encoder(tmp_path / "tokenizer.json")
