"""Held-out bits per byte by brute force, and passages that join to their text."""

import math

import pytest
import torch

from pretrain import shards, store
from pretrain.evaluate import compression
from pretrain.evaluate.held_out import _pieces
from pretrain.train.load import load_run

LENGTH = 32


@pytest.fixture(scope="module")
def scores(tiny_run):
    return store.read_json(tiny_run / "evaluate" / "scores.json")


def _texts(run_folder, source):
    """Texts of a source: (held out, trained on), in the order of the kept rows."""
    held = shards.read(run_folder / "mix" / "held_out" / f"{source}.parquet")["id"].to_pylist()
    kept = sorted((run_folder / "curate" / "kept").glob("*.parquet"))
    rows = [r for r in shards.read_all(kept).to_pylist() if r["source"] == source]
    chosen = {r["id"]: r["text"] for r in rows}
    return [chosen[i] for i in held], [r["text"] for r in rows if r["id"] not in set(held)]


@torch.inference_mode()
def _nats(model, encoder, text):
    """Loss of a text token by token: at most LENGTH tokens of context, half a window shared."""
    stream = [encoder.end_of_text, *encoder.encode(text)]
    total, done = 0.0, 1
    while done < len(stream):
        begin = 0 if done == 1 else done - 1 - LENGTH // 2
        end = min(len(stream), begin + LENGTH + 1)
        logits = model(torch.tensor([stream[begin : end - 1]]))[0].double().log_softmax(-1)
        for i in range(done, end):
            total -= float(logits[i - 1 - begin, stream[i]])
        done = end
    return total, len(stream) - 1


def test_bits_per_byte_equal_a_brute_force_computation(tiny_run, scores):
    model, encoder = load_run(tiny_run)
    overall = [0.0, 0, 0]
    for source in ("code", "prose"):
        texts, _ = _texts(tiny_run, source)
        nats, n_tokens = map(sum, zip(*(_nats(model, encoder, t) for t in texts), strict=True))
        n_bytes = sum(len(t.encode()) for t in texts)
        row = scores["held_out"][source]
        assert row["bits_per_byte"] == pytest.approx(nats / math.log(2) / n_bytes, rel=1e-5)
        assert row["loss"] == pytest.approx(nats / n_tokens, rel=1e-5)
        assert (row["n_tokens"], row["n_bytes"]) == (n_tokens, n_bytes)
        assert row["documents"] == len(texts) > 0
        overall = [a + b for a, b in zip(overall, (nats, n_tokens, n_bytes), strict=True)]
    row = scores["held_out"]["all"]
    assert row["bits_per_byte"] == pytest.approx(overall[0] / math.log(2) / overall[2], rel=1e-5)
    assert (row["n_tokens"], row["n_bytes"]) == (overall[1], overall[2])
    counts = store.read_json(tiny_run / "evaluate" / "manifest.json")["counts"]
    assert counts["bits_per_byte"] == round(row["bits_per_byte"], 6)
    assert counts["held_out_bytes"] == row["n_bytes"]


def test_parts_of_the_held_out_text_add_up_to_all_of_it(tiny_run, scores):
    whole, parts = scores["held_out"]["all"], scores["held_out_by"]
    for name in ("language", "domain"):
        rows = parts[name]
        for key in ("n_tokens", "n_bytes", "documents"):
            assert sum(row[key] for row in rows) == whole[key]
        bits = sum(row["bits_per_byte"] * row["n_bytes"] for row in rows)
        assert bits == pytest.approx(whole["bits_per_byte"] * whole["n_bytes"])
    texts, _ = _texts(tiny_run, "prose")
    hosts = {row["name"]: row for row in parts["domain"]}
    assert set(hosts) <= {None, *(f"host{i}.example" for i in range(5))}
    assert sum(r["documents"] for name, r in hosts.items() if name) == len(texts)  # code has none
    assert sum(row["n_tokens"] for row in parts["position"]) == whole["n_tokens"]
    assert [row["first"] for row in parts["position"]] == [0, 1, 3, 7, 15, 31]


def test_compressors_see_the_same_text_and_no_held_out_text_in_their_dictionary(tiny_run, scores):
    for source in ("code", "prose"):
        held, trained = ([t.encode() for t in texts] for texts in _texts(tiny_run, source))
        assert scores["held_out"][source]["xz"] == compression.xz(held)
        assert scores["held_out"][source]["zstd"] == compression.zstd(held, trained)


def test_passages_join_to_the_beginning_of_a_held_out_text(tiny_run):
    model, encoder = load_run(tiny_run)
    passages = store.read_json(tiny_run / "evaluate" / "passage.json")
    assert {p["source"] for p in passages} == {"code", "prose"}
    for passage in passages:
        texts, _ = _texts(tiny_run, passage["source"])
        joined = "".join(text for text, _ in passage["pieces"])
        (text,) = [t for t in texts if t.startswith(joined)]
        ids = encoder.encode(text)[:LENGTH]
        assert joined == encoder.decode(ids)
        nats, _ = _nats(model, encoder, joined)
        bits = sum(b for _, b in passage["pieces"])
        if encoder.encode(joined) == ids:
            assert bits == pytest.approx(nats / math.log(2), abs=0.001 * len(ids))


def test_pieces_join_tokens_that_only_together_make_a_character(tiny_run):
    _, encoder = load_run(tiny_run)
    text = "a河é😀b"
    ids = [i for c in text for i in encoder.encode(c)]
    pieces = _pieces(encoder, ids, [1.0] * len(ids))
    assert "".join(t for t, _ in pieces) == text
    assert sum(b for _, b in pieces) == len(ids)
    assert ["河", 3.0] in pieces
    cut = _pieces(encoder, ids[:2], [1.0, 1.0])  # ends within a character: left out
    assert cut == [["a", 1.0]]
