import gzip
import json
from pathlib import Path

import pytest

from pretrain.collect.languages import SUFFIXES, by_name, language_of, may_be_script


@pytest.mark.parametrize(
    ("name", "head", "language"),
    [
        ("a/b.py", b"", "python"),
        ("A.RS", b"", "rust"),
        ("Makefile", b"", "make"),
        ("docker/Dockerfile", b"", "dockerfile"),
        ("dockerfile.dev", b"", "dockerfile"),
        ("CMakeLists.txt", b"", "cmake"),
        ("notes.txt", b"", "text"),
        ("a.h", b"int f(void);", "c"),
        ("a.h", b"#pragma once\nnamespace x {", "c++"),
        ("a.m", b"x = [1 2];", "matlab"),
        ("a.m", b"#import <Foundation/Foundation.h>\n", "objective-c"),
        ("run", b"#!/usr/bin/env python3\n", "python"),
        ("run", b"#!/bin/sh -e\n", "shell"),
        ("run", b"#! /usr/local/bin/perl5.30 -w\n", "perl"),
        ("run", b"#!/usr/local/unknown\n", None),
        ("run", b"no mark", None),
        ("a.png", b"", None),
        ("py", b"", None),
    ],
)
def test_language(name: str, head: bytes, language: str | None) -> None:
    assert language_of(name, head) == language


def test_the_table() -> None:
    assert len(set(SUFFIXES.values())) >= 80
    assert all(s == s.lower() for s in SUFFIXES)
    assert may_be_script("bin/run")
    assert not may_be_script("a.png")


def test_real_source_files(data: Path) -> None:
    """The suffixes of 252 files agree with the languages that their collection states."""
    expected = {"cpp": {"c++", "c"}, "cython": {"cython"}}
    for file in sorted((data / "code").glob("*.jsonl.gz")):
        stated = file.name.partition("-")[0]
        with gzip.open(file) as lines:
            for line in lines:
                record = json.loads(line)
                found = by_name(record.get("path") or record["id"])
                assert found in expected.get(stated, {stated}), record
