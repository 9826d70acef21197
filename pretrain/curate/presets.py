"""What can be asked of a document, and the rule sets of others under their names.

Definitions, sources and test vectors: docs/RULES.md.
"""

_SHARES = {2: 0.20, 3: 0.18, 4: 0.16, 5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
# Gopher's table A1, the part that all who use it share.
_NGRAMS: dict[str, tuple[str, float]] = {
    f"max_{'top' if n < 5 else 'duplicate'}_{n}gram_chars": (
        f"{'top' if n < 5 else 'duplicate'}_{n}gram_char_fraction <= {{}}", share
    )
    for n, share in _SHARES.items()
}  # fmt: skip

_SCRIPTS = (
    "Latin", "Cyrillic", "Greek", "Arabic", "Hebrew", "Devanagari", "Hangul", "Thai", "Han",
)  # fmt: skip

# Signal -> what it is. A ratio with nothing to divide by is 0.
SIGNALS: dict[str, str] = {
    "n_bytes": "bytes of UTF-8",
    "n_chars": "characters (code points)",
    "n_words": "words",
    "n_lines": "lines",
    "n_paragraphs": "paragraphs",
    "n_sentences": "sentences",
    "mean_word_length": "characters of words / words",
    "median_word_length": "median of the words' characters",
    "max_word_length": "characters of the longest word",
    "hash_per_word": "'#' / words",
    "ellipsis_per_word": "('...' not overlapping + '…') / words",
    "symbol_per_word": "('#' + '...' not overlapping + '…') / words",
    "newline_per_word": "line breaks / words",
    "alphabetic_word_fraction": "words with at least one letter / words",
    "uppercase_word_fraction": "words of 2 characters or more with capitals and no small letter "
    "/ words",
    "n_stop_words": "how many of the, be, to, of, and, that, have, with occur (0 to 8)",
    "n_stop_word_uses": "words that are one of these",
    "mean_line_length": "characters of lines, indentation and trailing white included / lines",
    "max_line_length": "characters of the longest line, indentation and trailing white included",
    "n_long_lines": "lines of at least 200 characters",
    "bullet_line_fraction": "lines that start with ● • * or - / lines",
    "ellipsis_line_fraction": "lines that end in '...' or '…' / lines",
    "terminal_line_fraction": "lines that end in terminal punctuation / lines",
    "short_line_fraction": "lines of at most 30 characters / lines",
    "duplicate_line_fraction": "lines equal to an earlier line / lines",
    "duplicate_line_char_fraction": "characters of lines equal to an earlier line / characters",
    "duplicate_line_char_share": "characters of lines equal to an earlier line / characters less "
    "line breaks",
    "duplicate_paragraph_fraction": "paragraphs equal to an earlier paragraph / paragraphs",
    "duplicate_paragraph_char_fraction": "characters of such paragraphs / characters",
    **{
        f"top_{n}gram_char_fraction": f"occurrences × length of the most frequent word {n}-gram / "
        "characters; 0 if none repeats; may exceed 1"
        for n in (2, 3, 4)
    },
    **{
        f"duplicate_{n}gram_char_fraction": f"characters in repeated word {n}-grams / characters"
        for n in (5, 6, 7, 8, 9, 10)
    },
    "compressed_fraction": "what the bytes cost a greedy LZ77 / bytes",
    "c4_sentences": "sentences in the lines that C4 keeps",
    "n_policy_lines": "lines with one of C4's phrases on terms of use, privacy and cookies",
    "policy_paragraph_fraction": "paragraphs with such a phrase, or one of NeMo's / paragraphs",
    "has_javascript": "1 if 'javascript' occurs, in any case, else 0",
    "has_lorem_ipsum": "1 if 'lorem ipsum' occurs, in any case, else 0",
    "has_curly_bracket": "1 if '{' occurs, else 0",
    "n_urls": "web addresses",
    "url_char_fraction": "characters of web addresses / characters",
    "letter_fraction": "letters / characters",
    "digit_fraction": "decimal digits / characters",
    "uppercase_fraction": "capital letters / letters",
    "whitespace_fraction": "white space, line breaks included / characters",
    "symbol_fraction": "punctuation and symbols / characters",
    "parenthesis_fraction": "( ) [ ] { } ⟨ ⟩ / characters",
    "non_alphanumeric_fraction": "characters other than letters, digits, line feeds and ? ! , . / "
    "characters",
    "non_ascii_fraction": "characters above U+007F / characters",
    **{f"{script.lower()}_fraction": f"{script} letters / letters" for script in _SCRIPTS},
    "kana_fraction": "Hiragana and Katakana letters / letters",
    "control_chars": "control characters other than tab, line feed and carriage return",
    "replacement_chars": "U+FFFD, what decoders leave for bytes that they cannot read",
    "language_score": "confidence of the language, 0 to 1",
    "removed_word_fraction": "words that the line rules cut / words before; 0 without line rules",
    "n_bytes_normalized": "bytes before the line rules cut some",
    "n_email": "e-mail addresses found",
    "n_ip": "public IP addresses found",
    "n_phone": "telephone numbers found",
    "n_iban": "bank accounts found",
    "n_card": "card numbers found",
    "n_secret": "keys, tokens and passwords found",
    "n_national_id": "national identity numbers found",
}

# Preset -> rule -> (expression of what is kept, threshold).
PRESETS: dict[str, dict[str, tuple[str, float]]] = {
    # Rae et al. 2021 (Gopher, arXiv 2112.11446), appendix A.1.1, "quality filtering". The paper
    # gives all numbers; datatrove, DCLM and Dolma share them and differ in what a word is.
    "gopher_quality": {
        "min_words": ("n_words >= {}", 50),
        "max_words": ("n_words <= {}", 100_000),
        "min_mean_word_length": ("mean_word_length >= {}", 3),
        "max_mean_word_length": ("mean_word_length <= {}", 10),
        "max_hashes": ("hash_per_word <= {}", 0.1),
        "max_ellipses": ("ellipsis_per_word <= {}", 0.1),
        "max_bullet_lines": ("bullet_line_fraction <= {}", 0.9),
        "max_ellipsis_lines": ("ellipsis_line_fraction <= {}", 0.3),
        "min_alphabetic_words": ("alphabetic_word_fraction >= {}", 0.8),
        "min_stop_words": ("n_stop_words >= {}", 2),
    },
    # Same paper, table A1. Dolma 1.5 has 0.30 for duplicate_line_chars.
    "gopher_repetition": {
        "max_duplicate_lines": ("duplicate_line_fraction <= {}", 0.30),
        "max_duplicate_paragraphs": ("duplicate_paragraph_fraction <= {}", 0.30),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction <= {}", 0.20),
        "max_duplicate_paragraph_chars": ("duplicate_paragraph_char_fraction <= {}", 0.20),
        **_NGRAMS,
    },
    # Raffel et al. 2020 (T5, JMLR 21/140), section 2.2: pages, after its line rules. Their code
    # and datatrove keep lines of 3 words or more; DCLM asks 5 words a line and 3 sentences.
    "c4": {
        "min_sentences": ("c4_sentences >= {}", 5),
        "max_lorem_ipsum": ("has_lorem_ipsum <= {}", 0),
        "max_curly_brackets": ("has_curly_bracket <= {}", 0),
    },
    # Xue et al. 2021 (mC4, arXiv 2010.11934), section 3.1: three lines of 200 characters or more.
    "mc4": {"min_long_lines": ("n_long_lines >= {}", 3)},
    # Penedo et al. 2024 (FineWeb, arXiv 2406.17557), section 3.6, and datatrove 0.10.1's
    # fineweb_quality_filter.py. The paper prints 0.1 for duplicate_line_chars and removes a page
    # that sits on a bound; FineWeb was made with the code's 0.01 (FineWeb-2 says so). The rule on
    # line breaks is in the code only.
    "fineweb": {
        "min_terminal_lines": ("terminal_line_fraction >= {}", 0.12),
        "max_short_lines": ("short_line_fraction <= {}", 0.67),
        "max_duplicate_line_chars": ("duplicate_line_char_share <= {}", 0.01),
        "max_newlines": ("newline_per_word <= {}", 0.3),
    },
    # Penedo et al. 2023 (RefinedWeb, arXiv 2306.01116), appendix G.2: Gopher's rules on documents
    # (use them beside this), then lines are cut: curate.lines = "refinedweb".
    "refinedweb": {"max_removed_words": ("removed_word_fraction <= {}", 0.05)},
    # Li et al. 2024 (DCLM, arXiv 2406.11794): baselines_configs/dclm_baseline_refinedweb.yaml,
    # commit 8383011, without its rules on addresses and language. For curate.measure = "dclm".
    "dclm": {
        "min_words": ("n_words >= {}", 50),
        "max_words": ("n_words <= {}", 100_000),
        "min_mean_word_length": ("mean_word_length >= {}", 3),
        "max_mean_word_length": ("mean_word_length <= {}", 10),
        "max_symbols": ("symbol_per_word <= {}", 0.1),
        "max_bullet_lines": ("bullet_line_fraction <= {}", 0.9),
        "max_ellipsis_lines": ("ellipsis_line_fraction <= {}", 0.3),
        "min_alphabetic_words": ("alphabetic_word_fraction >= {}", 0.8),
        "min_stop_words": ("n_stop_word_uses >= {}", 2),
        "max_duplicate_lines": ("duplicate_line_fraction <= {}", 0.30),
        "max_duplicate_paragraphs": ("duplicate_paragraph_fraction <= {}", 0.30),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction <= {}", 0.20),
        "max_duplicate_paragraph_chars": ("duplicate_paragraph_char_fraction <= {}", 0.20),
        **_NGRAMS,
        "max_removed_words": ("removed_word_fraction <= {}", 0.05),
    },
    # Soldaini et al. 2024 (Dolma, arXiv 2402.00159): configs/dolma-v1_5/mixing/cc-head.yaml.
    # For curate.measure = "dolma". Without its rules on toxicity, which need its classifiers.
    "dolma": {
        "min_words": ("n_words >= {}", 50),
        "max_words": ("n_words <= {}", 100_000),
        "min_median_word_length": ("median_word_length >= {}", 3),
        "max_median_word_length": ("median_word_length <= {}", 10),
        "max_symbols": ("symbol_per_word <= {}", 0.1),
        "max_bullet_lines": ("bullet_line_fraction <= {}", 0.9),
        "max_ellipsis_lines": ("ellipsis_line_fraction <= {}", 0.3),
        "min_alphabetic_words": ("alphabetic_word_fraction >= {}", 0.8),
        "min_stop_words": ("n_stop_word_uses >= {}", 2),
        "max_duplicate_lines": ("duplicate_line_fraction <= {}", 0.30),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction <= {}", 0.30),
        **_NGRAMS,
    },
    # NVIDIA NeMo Curator, config/heuristic_filter_english_pipeline.yaml and heuristic_filter.py
    # (commit 1e223f1). Its "repeated" ratios are what stays, here what goes: 0.7 is 0.3.
    "nemo": {
        "max_non_alphanumeric": ("non_alphanumeric_fraction <= {}", 0.25),
        "max_symbols": ("symbol_per_word <= {}", 0.1),
        "max_digits": ("digit_fraction <= {}", 0.15),
        "max_urls": ("url_char_fraction <= {}", 0.2),
        "max_whitespace": ("whitespace_fraction <= {}", 0.25),
        "max_parentheses": ("parenthesis_fraction <= {}", 0.1),
        "max_policy_paragraphs": ("policy_paragraph_fraction <= {}", 0.4),
        "max_lorem_ipsum": ("has_lorem_ipsum <= {}", 0),
        "max_duplicate_lines": ("duplicate_line_fraction <= {}", 0.30),
        "max_duplicate_paragraphs": ("duplicate_paragraph_fraction <= {}", 0.30),
        "max_duplicate_line_chars": ("duplicate_line_char_fraction <= {}", 0.20),
        "max_duplicate_paragraph_chars": ("duplicate_paragraph_char_fraction <= {}", 0.20),
        "min_words": ("n_words >= {}", 50),
        "max_words": ("n_words <= {}", 100_000),
        "min_terminal_lines": ("terminal_line_fraction >= {}", 0.15),
        "min_alphabetic_words": ("alphabetic_word_fraction >= {}", 0.8),
        "min_stop_words": ("n_stop_word_uses >= {}", 2),
        "min_mean_word_length": ("mean_word_length >= {}", 3),
        "max_mean_word_length": ("mean_word_length <= {}", 10),
        "max_word_length": ("max_word_length <= {}", 1000),
        "max_bullet_lines": ("bullet_line_fraction <= {}", 0.9),
        "max_ellipsis_lines": ("ellipsis_line_fraction <= {}", 0.3),
        **_NGRAMS,
    },
    # Chen et al. 2021 (Codex, arXiv 2107.03374), section 3.1: line lengths, and "a small percentage
    # of alphanumeric characters" without a number; 0.25 from bigcode-dataset's preprocessing
    # (SantaCoder, StarCoder: defaults 100, 1000, 0.25). DeepSeek-Coder counts letters alone.
    "code": {
        "max_mean_line_length": ("mean_line_length <= {}", 100),
        "max_line_length": ("max_line_length <= {}", 1000),
        "min_alphanumeric": ("letter_fraction + digit_fraction >= {}", 0.25),
    },
}
