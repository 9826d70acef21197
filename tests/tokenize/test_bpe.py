"""A learned vocabulary: bytes first, whole, ordered, the same every time, and loadable."""

import pytest
from tokenizers import Tokenizer

from pretrain.tokenize import bpe
from pretrain.tokenize.settings import SPECIAL

from .conftest import texts

EVERY = sorted(bpe.PATTERNS)


@pytest.mark.parametrize("pattern", EVERY)
def test_ids_are_bytes_then_merges_then_special_tokens(folders, pattern):
    tokenizer = Tokenizer.from_file(str(folders[pattern] / "tokenizer.json"))
    names = [tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size())]
    first_special = names.index(SPECIAL[0])
    tokens = [bpe.from_text(name) for name in names[:first_special]]
    assert tokens[:256] == [bytes([b]) for b in range(256)]
    assert len(set(tokens)) == len(tokens)
    assert tuple(names[first_special : first_special + len(SPECIAL)]) == SPECIAL
    assert len(set(names)) == len(names)
    assert all(name.startswith("<|reserved_") for name in names[first_special + len(SPECIAL) :])


@pytest.mark.parametrize("pattern", EVERY)
def test_every_token_is_made_of_two_older_ones(pattern):
    learned = bpe.learn(texts(), 500, pattern)
    ranks = {bytes([b]): b for b in range(256)}
    for token in learned:
        assert any(token[:i] in ranks and token[i:] in ranks for i in range(1, len(token)))
        ranks[token] = len(ranks)


@pytest.mark.parametrize("pattern", EVERY)
def test_learning_twice_gives_the_same_bytes(pattern):
    def once():
        return bpe.dumps(bpe.tokenizer_json(bpe.learn(texts(), 400, pattern), pattern, 32))

    assert once() == once()


@pytest.mark.parametrize("text", ["ab", "abab abab", "the river the river " * 3])
@pytest.mark.parametrize("reserved", [8, 32, 100])
def test_short_text_gives_a_smaller_vocabulary_in_multiples_of_64(text, reserved):
    learned = bpe.learn([text], 5000, "llama3")
    content = bpe.tokenizer_json(learned, "llama3", reserved)
    size = len(content["model"]["vocab"]) + len(content["added_tokens"])
    assert len(learned) < 5000
    assert size % 64 == 0
    assert 256 + len(learned) + reserved <= size < 256 + len(learned) + reserved + 64
    assert Tokenizer.from_str(bpe.dumps(content).decode()).get_vocab_size() == size


@pytest.mark.parametrize("reserved", [8, 31, 64])
def test_special_tokens_fill_up_to_a_multiple_of_64(reserved):
    for n_tokens in range(256, 400):
        names = bpe.special_tokens(n_tokens, reserved)
        assert (n_tokens + len(names)) % 64 == 0
        assert reserved <= len(names) < reserved + 64
        assert len(set(names)) == len(names)


def test_the_byte_alphabet_is_that_of_tokenizers():
    from tokenizers import pre_tokenizers

    ours = {bpe.to_text(bytes([b])) for b in range(256)}
    assert ours == set(pre_tokenizers.ByteLevel.alphabet())
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    for text in ("Ünï\t\n \x00\x7f", "河😀"):
        (piece, _), *rest = split.pre_tokenize_str(text)
        assert not rest
        assert bpe.to_text(text.encode()) == piece
        assert bpe.from_text(piece) == text.encode()


def test_a_vocabulary_of_the_wanted_size_has_it(folders):
    for folder in folders.values():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        assert tokenizer.get_vocab_size() <= 960
        assert tokenizer.get_vocab_size() % 64 == 0


@pytest.mark.parametrize(
    ("pattern", "text", "pieces"),
    [
        # Digits: runs in GPT-2, three by three in Llama 3, one by one in Qwen 2.
        ("gpt2", "a 12345", ["a", " 12345"]),
        ("llama3", "a 12345", ["a", " ", "123", "45"]),
        ("qwen2", "a 12345", ["a", " ", "1", "2", "3", "4", "5"]),
        ("gpt2", "I'LL it's", ["I", "'", "LL", " it", "'s"]),
        ("llama3", "I'LL it's", ["I", "'LL", " it", "'s"]),
        ("llama3", "x  y\n\n z", ["x", " ", " y", "\n\n", " z"]),
        ("gpt2", "x  y!\n\n z", ["x", " ", " y", "!", "\n\n", " z"]),
        ("llama3", "x  y!\n\n z", ["x", " ", " y", "!\n\n", " z"]),
    ],
)
def test_patterns_cut_as_their_models_do(pattern, text, pieces):
    from tokenizers import Regex, pre_tokenizers

    split = pre_tokenizers.Split(Regex(bpe.PATTERNS[pattern]), behavior="isolated")
    assert [piece for piece, _ in split.pre_tokenize_str(text)] == pieces
