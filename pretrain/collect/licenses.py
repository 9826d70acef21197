"""Which licence a text is: SPDX names by sentences that only that licence has.

The text is reduced to words, so that line ends, case and punctuation do not matter. A file that
holds several licences, as those of bundled software do, gives all of them joined by AND: each must
be kept until someone looks. GNU texts do not tell whether later versions are allowed; `-only` is
the stricter reading. A header `SPDX-License-Identifier:` in a source file says more than any text.
"""

import re

_KIND = r"(?:[-.](?:txt|md|rst|mit|apache|bsd|isc|mpl|gpl|lgpl|agpl|lesser|[\d.v-]{1,9}))"
NAMES = re.compile(
    rf"(?:(?:un)?licen[sc]e|copying){_KIND}{{0,4}}|copyright(?:\.txt)?"
    rf"|(?:mit|bsd|apache|gpl)-licen[sc]e{_KIND}?|licen[sc]e_[\d_]{{1,9}}\.txt",
    re.I,
)
# (licence, all of these, none of these)
PHRASES: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("Apache-2.0", ("apache license version 2 0",), ()),
    (
        "MIT",
        (
            "permission is hereby granted free of charge to any person obtaining a copy of this "
            "software and associated documentation files",
            "permission notice shall be included",
        ),
        (),
    ),
    (
        "MIT-0",
        (
            "permission is hereby granted free of charge to any person obtaining a copy of this "
            "software and associated documentation files",
        ),
        ("permission notice shall be included",),
    ),
    (
        "BSD-4-Clause",
        ("redistribution and use in source and binary forms", "all advertising materials"),
        (),
    ),
    (
        "BSD-3-Clause",
        ("redistribution and use in source and binary forms", "to endorse or promote"),
        ("all advertising materials",),
    ),
    (
        "BSD-2-Clause",
        (
            "redistribution and use in source and binary forms",
            "redistributions of source code must retain the above copyright notice",
        ),
        ("to endorse or promote", "all advertising materials"),
    ),
    ("GPL-3.0-only", ("gnu general public license version 3 29 june 2007",), ()),
    ("GPL-2.0-only", ("gnu general public license version 2 june 1991",), ()),
    ("GPL-1.0-only", ("gnu general public license version 1 february 1989",), ()),
    ("LGPL-3.0-only", ("gnu lesser general public license version 3 29 june 2007",), ()),
    ("LGPL-2.1-only", ("gnu lesser general public license version 2 1 february 1999",), ()),
    ("LGPL-2.0-only", ("gnu library general public license version 2 june 1991",), ()),
    ("AGPL-3.0-only", ("gnu affero general public license version 3 19 november 2007",), ()),
    ("GFDL-1.2-only", ("gnu free documentation license version 1 2 november 2002",), ()),
    ("GFDL-1.3-only", ("gnu free documentation license version 1 3 3 november 2008",), ()),
    ("MPL-2.0", ("mozilla public license version 2 0 1 definitions",), ()),
    ("MPL-1.1", ("mozilla public license version 1 1 1 definitions",), ()),
    (
        "ISC",
        (
            "permission to use copy modify and or distribute this software for any purpose with or "
            "without fee is hereby granted provided that the above copyright notice",
        ),
        (),
    ),
    (
        "0BSD",
        (
            "permission to use copy modify and or distribute this software for any purpose with or "
            "without fee is hereby granted",
        ),
        ("provided that the above copyright notice",),
    ),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",), ()),
    ("CC0-1.0", ("cc0 1 0 universal",), ()),
    ("CC-BY-4.0", ("creative commons attribution 4 0 international public license",), ()),
    (
        "CC-BY-SA-4.0",
        ("creative commons attribution sharealike 4 0 international public license",),
        (),
    ),
    ("BSL-1.0", ("boost software license version 1 0",), ()),
    (
        "Zlib",
        (
            "altered source versions must be plainly marked as such and must not be misrepresented",
            "this notice may not be removed or altered from any source distribution",
        ),
        (),
    ),
    ("PSF-2.0", ("python software foundation license version 2",), ()),
    ("EPL-2.0", ("eclipse public license v 2 0",), ()),
    ("Artistic-2.0", ("the artistic license 2 0",), ()),
    ("WTFPL", ("do what the fuck you want to public license",), ()),
)
TEXT_BYTES = 200_000  # longest text that is looked at
_SPDX = re.compile(rb"SPDX-License-Identifier:[ \t]{0,8}([A-Za-z0-9.+() -]{2,120})")


def is_license(name: str) -> bool:
    """Whether a file of this name holds a licence."""
    return bool(NAMES.fullmatch(name.rpartition("/")[2]))


def spdx_of(text: bytes) -> str | None:
    """The SPDX expression of a licence's text; None where none is known."""
    words = " ".join(re.findall("[a-z0-9]+", text[:TEXT_BYTES].decode("latin-1").lower()))
    found = {
        name
        for name, needed, excluded in PHRASES
        if all(n in words for n in needed) and not any(e in words for e in excluded)
    }
    return " AND ".join(sorted(found)) or None


def stated(head: bytes) -> str | None:
    """The licence that a source file's header names."""
    found = _SPDX.search(head[:8192])
    if not found:
        return None
    expression = re.sub(rb"\s*(?:\*/|\s-+|\*).*$", b"", found[1]).decode().strip()
    return " ".join(expression.split()) or None
