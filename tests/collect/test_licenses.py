import re
import sysconfig
from pathlib import Path

import pytest

from pretrain.collect.licenses import is_license, spdx_of, stated

MIT = b"""The MIT License (MIT)
Permission is hereby granted, free of charge, to any person obtaining a copy of this software
and associated documentation files (the "Software"), to deal in the Software ...
The above copyright notice and this permission notice shall be included in all copies."""
BSD = b"""Redistribution and use in source and binary forms, with or without modification, are
permitted provided that: 1. Redistributions of source code must retain the above copyright notice,
this list of conditions."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MIT, "MIT"),
        (MIT.replace(b"\n", b"\n# ").upper(), "MIT"),
        (MIT.partition(b"The above")[0], "MIT-0"),
        (BSD, "BSD-2-Clause"),
        (BSD + b" Neither the name ... may be used to endorse or promote products", "BSD-3-Clause"),
        (MIT + BSD, "BSD-2-Clause AND MIT"),
        (b"Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        (b"This is free and unencumbered software released into the public domain.", "Unlicense"),
        (b"CC0 1.0 Universal", "CC0-1.0"),
        (b"All rights reserved.", None),
        (b"", None),
    ],
)
def test_texts(text: bytes, expected: str | None) -> None:
    assert spdx_of(text) == expected


def test_isc_and_0bsd() -> None:
    granted = b"""Permission to use, copy, modify, and/or distribute this software for any
    purpose with or without fee is hereby granted"""
    assert spdx_of(granted + b".") == "0BSD"
    kept = b", provided that the above copyright notice and this permission notice appear"
    assert spdx_of(granted + kept) == "ISC"


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"// SPDX-License-Identifier: GPL-2.0-only\n", "GPL-2.0-only"),
        (b"/* SPDX-License-Identifier: (MIT OR Apache-2.0) */", "(MIT OR Apache-2.0)"),
        (b"# SPDX-License-Identifier: LGPL-2.1+\nmore", "LGPL-2.1+"),
        (b"<!-- SPDX-License-Identifier: CC0-1.0 -->", "CC0-1.0"),
        (b"no licence", None),
    ],
)
def test_headers(head: bytes, expected: str | None) -> None:
    assert stated(head) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(n, True) for n in ("LICENSE", "a/LICENCE.txt", "COPYING.LESSER", "UNLICENSE")],
        *[(n, True) for n in ("LICENSE-MIT", "mit-license", "MIT-LICENSE.txt", "COPYING")],
        *[(n, False) for n in ("licenses.py", "a/README", "copy.c", "license_check")],
    ],
)
def test_names(name: str, expected: bool) -> None:
    assert is_license(name) is expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("Apache-2.0", "Apache-2.0"),
        ("BSD", "BSD-3-Clause"),
        ("CC0-1.0", "CC0-1.0"),
        ("GFDL-1.3", "GFDL-1.3-only"),
        ("GPL-1", "GPL-1.0-only"),
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-3", "GPL-3.0-only"),
        ("LGPL-2", "LGPL-2.0-only"),
        ("LGPL-2.1", "LGPL-2.1-only"),
        ("LGPL-3", "LGPL-3.0-only"),
        ("MPL-1.1", "MPL-1.1"),
        ("MPL-2.0", "MPL-2.0"),
    ],
)
def test_the_texts_that_debian_carries(file: str, expected: str) -> None:
    path = Path("/usr/share/common-licenses") / file
    if not path.is_file():
        pytest.skip(f"no {path}")
    assert spdx_of(path.read_bytes()) == expected


def test_texts_of_installed_packages_agree_with_what_they_declare() -> None:
    """Where a wheel declares one plain SPDX licence and carries its text."""
    n_agree = n_all = 0
    for folder in sorted(Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info")):
        metadata = (folder / "METADATA").read_text("utf-8", "replace")
        declared = re.search(r"^License-Expression: ([\w.-]+)$", metadata, re.M)
        texts = [f for f in sorted(folder.rglob("*")) if f.is_file() and is_license(f.name)]
        if declared and len(texts) == 1:
            n_all += 1
            n_agree += declared[1] in (spdx_of(texts[0].read_bytes()) or "").split(" AND ")
    if n_all < 10:
        pytest.skip(f"only {n_all} packages declare a licence")
    assert n_agree >= 0.9 * n_all, (n_agree, n_all)
