"""The columns of documents on disk, stage by stage.

`path`, `offset` and `length` lead back to the source: bytes of the (decompressed) file for text,
HTML, JSON lines and CSV; row numbers for Parquet. `id` is a hash of source, path and offset: the
same record has the same id in every run.
"""

import pyarrow as pa
import xxhash

# What `collect` writes.
DOCUMENT = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("url", pa.string()),
        ("license", pa.string()),
        ("date", pa.string()),
        ("digest", pa.string()),  # of the record as its source states it: 'sha1:…' of a WARC
        ("tags", pa.list_(pa.string())),  # what the reader saw: 'vendored', 'language:rust', …
        ("language_hint", pa.string()),
        ("text", pa.large_string()),
    ]
)

# A record that went no further: `kind` is 'dropped' (seen and refused by a rule) or 'quarantined'
# (could not be read), `reason` one word, `detail` what was found.
REJECT = pa.schema(
    [
        ("source", pa.string()),
        ("path", pa.string()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("kind", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("records", pa.int64()),  # how many the range holds; 1 but for damage that hides several
    ]
)

# One change made to a text by curation: bytes [start, end) of the text before its step, what stood
# there, what stands there now, and the rule with its version. Edits of one step lie in order and
# apart; step 0 (lines) refers to the normalised text, step 1 (all others) to the text after it.
EDIT = pa.struct(
    [
        ("step", pa.int8()),
        ("start", pa.int64()),
        ("end", pa.int64()),
        ("what", pa.string()),
        ("replacement", pa.string()),
        ("by", pa.string()),
    ]
)

# What `curate` keeps.
KEPT = pa.schema(
    [
        *[f for f in DOCUMENT if f.name not in ("language_hint", "text")],
        ("language", pa.string()),
        ("cluster", pa.string()),  # id of the cluster's first document; held out or trained whole
        ("copies", pa.int64()),  # documents this one stands for after duplicate removal
        ("edits", pa.list_(EDIT)),
        ("text", pa.large_string()),
    ]
)


def document_id(source: str, path: str, offset: int) -> str:
    """32 hexadecimal digits: xxh3-128 of source, path and offset."""
    return xxhash.xxh3_128_hexdigest(f"{source}\0{path}\0{offset}".encode("utf-8", "surrogatepass"))
