"""English words as spaCy's blank pipeline cuts them, for counting what datatrove counts.

    split("(Don't)")  ->  ["(", "Do", "n't", ")"]

A run between white space loses, from both ends in turn, brackets, quotes, commas and the like,
until it is a known contraction or abbreviation, or nothing more comes off; what is left stays whole
if it looks like an address of the web, else is cut at inner dots, hyphens and colons. Written anew
from the documented algorithm, with shorter tables: benchmarks/agreement.py measures how often
tokens and decisions are those of spaCy 3 and datatrove 0.10.1.

The price: Python, 20 microseconds for a run of ASCII and up to 200 for others, so the vocabulary
asks once for each distinct run.
"""

import functools
import re
import unicodedata

_PUNCTUATION = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_QUOTES = "'\"”“`‘´’‚„»«「」『』（）〔〕【】《》〈〉⟦⟧"
_CURRENCY = "$£€¥฿₽﷼₠₡₢₣₤₥₦₧₨₩₪₫₭₮₯₰₱₲₳₴₵₶₷₸₹₺₻₼₾₿"
_UNITS = (
    "km² km³ km m² m³ m dm² dm³ dm cm² cm³ cm mm² mm³ mm ha µm nm yd in ft kg g mg µg t lb oz "
    "m/s km/h kmh mph hPa Pa mbar mb MB kb KB gb GB tb TB T G M K %"
)
LONGEST = 2000  # longer runs are cut into pieces of this many characters
LONGEST_ADDRESS = 500
_LETTER = r"[^\W\d_]"


@functools.cache
def _classes() -> tuple[str, str, str]:
    """Insides of character classes: small letters, capitals, other symbols (category So)."""
    found: dict[str, list[str]] = {"Ll": [], "Lu": [], "So": []}
    for code in range(0x20000):
        category = unicodedata.category(chr(code))
        if category in found:
            found[category].append(chr(code))
    uncased = "\u0590-\u06ff\u0900-\u0dff\u1100-\u137f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
    small, large = "".join(found["Ll"]) + uncased, "".join(found["Lu"]) + uncased
    return small, large, "".join(found["So"])


@functools.cache
def _patterns(ascii_only: bool) -> tuple[re.Pattern[str], ...]:
    """What comes off in front, off the end, what cuts inside, and what is a web address.

    Runs of ASCII have patterns of their own, with the same result at a tenth of the time.
    """
    lower, upper, other = ("a-z", "A-Z", "") if ascii_only else _classes()
    marks, quotes = re.escape(_PUNCTUATION), re.escape(_QUOTES)
    if ascii_only:
        marks, quotes = re.escape(_ascii(_PUNCTUATION)), re.escape(_ascii(_QUOTES))
    prefix = (
        rf"\.\.+|US\$|[CA]\$|\+(?![0-9])|……"
        rf"|[§%=—–{marks}{quotes}{re.escape(_CURRENCY)}{other}]"
    )
    units = "|".join(re.escape(u) for u in _UNITS.split())
    suffix = (
        rf"(?:\.\.+|……|['’][sS]|(?<=[0-9])(?:{units})|(?<=[0-9])(?:[+{re.escape(_CURRENCY)}])"
        rf"|(?<=[0-9%²\-+{lower}{marks}{quotes}])\."
        rf"|(?<=[{upper}][{upper}])\.|(?<=°[FfCcKk])\.|[—–{marks}{quotes}{other}])$"
    )
    infix = (
        rf"\.\.+|[…{other}]|(?<=[0-9])[+\-*^](?=[0-9-])"
        rf"|(?<=[{lower}{quotes}])\.(?=[{upper}{quotes}])"
        rf"|(?<={_LETTER}),(?={_LETTER})"
        rf"|(?<=[^\W_])(?:---|--|——|[-–—~])(?={_LETTER})"
        rf"|(?<=[^\W_])[:<>=/](?={_LETTER})"
    )
    address = (
        rf"(?:[\w+\-.]{{2,}}://)?(?:\S+(?::\S*)?@)?"
        rf"(?:(?!10\.|127\.)[1-9]\d{{0,2}}(?:\.\d{{1,3}}){{3}}"
        rf"|(?:[A-Za-z0-9\u00a1-\uffff](?:[A-Za-z0-9\u00a1-\uffff_-]{{0,62}}"
        rf"[A-Za-z0-9\u00a1-\uffff])?\.)+[{lower}]{{2,63}})(?::\d{{2,5}})?(?:[/?#]\S*)?\Z"
    )
    flag = re.ASCII if ascii_only else re.UNICODE
    return tuple(re.compile(each, flag) for each in (prefix, suffix, infix, address))


def _ascii(characters: str) -> str:
    return "".join(filter(str.isascii, characters))


@functools.cache
def _known() -> dict[str, tuple[str, ...]]:
    """Runs with a fixed cut: contractions, with and without apostrophe; abbreviations; faces."""
    known: dict[str, tuple[str, ...]] = {}

    def add(stems: str, endings: str, tails: str = "") -> None:
        for stem in stems.split():
            for head in (stem, stem.title()):
                for ending in endings.split():
                    for end in (ending, ending.replace("'", "")):
                        known[head + end] = (head, end)
                        for tail in tails.split():
                            more = tail if "'" in end else tail.replace("'", "")
                            known[head + end + more] = (head, end, more)

    asked = "who what when where why how there that this"
    add("i you he she it we they " + asked + " these those", "'ll 'd", "'ve")
    add("i", "'m", "'a")
    for head in ("i", "I"):
        known |= {head + "'ma": (head, "'m", "a"), head + "ma": (head, "m", "a")}
        known.pop(head + "'m'a")
    add("i you we they could might must should would these those " + asked, "'ve")
    add("you we they these those " + asked, "'re")
    add("he she it " + asked, "'s")
    for stem in ("these", "those"):
        for gone in ("re", "ve"):
            for head in (stem, stem.title()):
                known |= {head + "'" + gone: (head, "'" + gone), head + gone: (head, gone)}
    verbs = "ca could do does did had may might must need ought sha should wo would"
    add_not = [(verbs, True), ("ai are is was were have has dare", False)]
    for stems, with_have in add_not:
        for stem in stems.split():
            for head in (stem, stem.title()):
                for end, have in (("n't", "'ve"), ("nt", "ve")):
                    known[head + end] = (head, end)
                    if with_have:
                        known[head + end + have] = (head, end, have)
    for hour in range(1, 13):
        known |= {f"{hour}{half}": (str(hour), half) for half in ("a.m.", "am", "p.m.", "pm")}
    for cut in _CUTS.split():
        known[cut.replace("|", "")] = tuple(cut.split("|"))
    known |= {
        run.replace("'", "’"): tuple(token.replace("'", "’") for token in cut)
        for run, cut in known.items()
        if "'" in run
    }
    known |= {whole: (whole,) for whole in _WHOLES.split()}
    known |= {f"{letter}.": (f"{letter}.",) for letter in "abcdefghijklmnopqrstuvwxyzäöü"}
    for word in _NO_CUTS.split():
        known.pop(word, None)
    return known


_NO_CUTS = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well"  # words, no cuts
_CUTS = (
    "y'|all y|all how|'d|'y How|'d|'y not|'ve not|ve Not|'ve Not|ve can|not Can|not gon|na Gon|na "
    "got|ta Got|ta let|'s Let|'s c'm|on C'm|on"
)
_WHOLES = (
    "' '' \\\") <space> C++ \\n \\t — 'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz "
    "'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock lovin' Lovin' lovin Lovin havin' Havin' havin "
    "Havin doin' Doin' doin Doin goin' Goin' goin Goin nothin' Nothin' nuthin' Nuthin' ol' Ol' "
    "somethin' Somethin' 'em em 'll ll 'nuff nuff 'd Mt. Ak. Ala. Apr. Ariz. Ark. Aug. Calif. "
    "Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La. Mar. "
    "Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore. "
    "Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. a.m. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. "
    "E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. p.m. Ph.D. "
    "Prof. Rep. Rev. Sen. St. vs. v.s. :) :-) :)) ;) ;-) :( :-( :/ :| :] :[ :} =) =( =] =[ (: (; "
    "(= ): 8) 8-) :D :-D ;D =D xD XD :P :-P :p :-p :O :-O :o :-o :0 :1 :3 :* :> :X :x :() :'( :') "
    ">.< <.< ._. -_- ^_^ o_o O_O 0.0 o.o O.O o.O O.o 0.o o.0 <3 </3"
)


def split(run: str) -> list[str]:
    """The tokens of one run of characters without white space."""
    known = _known()
    if run in known:
        return list(known[run])
    if run.isalpha():
        return [run]
    if len(run) > LONGEST:  # spaCy takes quadratic time here; no word of prose is so long
        pieces = [run[i : i + LONGEST] for i in range(0, len(run), LONGEST)]
        return [token for piece in pieces for token in split(piece)]
    prefix, suffix, _, _ = _patterns(run.isascii())
    before: list[str] = []
    behind: list[str] = []
    while run and run not in known:
        front = prefix.match(run)
        n_front = front.end() if front else 0
        if n_front and run[n_front:] in known:
            before.append(run[:n_front])
            run = run[n_front:]
            break
        n_back = _n_suffix(run[n_front:], suffix)
        if n_back and run[:-n_back] in known:
            behind.append(run[-n_back:])
            run = run[:-n_back]
            break
        if not n_front and not n_back:
            break
        if n_front:
            before.append(run[:n_front])
        if n_back and n_front + n_back <= len(run):
            behind.append(run[-n_back:])
            run = run[: len(run) - n_back]
        run = run[n_front:]
    return _faces([*before, *_inside(run), *reversed(behind)])


def _n_suffix(run: str, suffix: re.Pattern[str]) -> int:
    if not run or run[-1] not in _last_characters():
        return 0
    longest = len(run) - len(run.rstrip(".")) if run[-1] == "." else 0
    back = suffix.search(run, max(0, len(run) - max(longest, 5)))
    return len(run) - back.start() if back else 0


@functools.cache
def _last_characters() -> frozenset[str]:
    """What the last character of a suffix may be."""
    units = frozenset(unit[-1] for unit in _UNITS.split())
    return units | frozenset("sS.+—–" + _PUNCTUATION + _QUOTES + _CURRENCY + _classes()[2])


def _faces(tokens: list[str]) -> list[str]:
    """Two marks side by side that make a face are one token: ')' and ':' are '):'."""
    joined: list[str] = []
    for token in tokens:
        pair = joined[-1] + token if joined else ""
        if len(pair) == 2 and not token.isalnum() and _known().get(pair) == (pair,):
            joined[-1] = pair
        else:
            joined.append(token)
    return joined


def _inside(run: str) -> list[str]:
    if not run:
        return []
    known = _known().get(run)
    if known:
        return list(known)
    _, _, infix, address = _patterns(run.isascii())
    if "." in run and len(run) <= LONGEST_ADDRESS and address.match(run):
        return [run]
    pieces, start = [], 0
    for cut in infix.finditer(run):
        if cut.start() == 0:
            continue
        if cut.start() > start:
            pieces.append(run[start : cut.start()])
        pieces.append(cut.group())
        start = cut.end()
    return [*pieces, run[start:]] if start < len(run) else pieces


@functools.cache
def punctuation() -> frozenset[str]:
    """What datatrove calls symbols: a word made of these alone is none of its words."""
    codes = [*range(0x9), *range(0xB, 0x20), *range(0x7B, 0xA0)]
    listed = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`«´»–—’“”„…∶━►、。〈〉《》「」【】％（），．１：；？～"
    return frozenset(listed) | frozenset(map(chr, codes)) | sentence_ends()


@functools.cache
def sentence_ends() -> frozenset[str]:
    """datatrove's terminal punctuation: the sentence ends of Unicode, no quotes."""
    ends = []
    for item in _ENDS.split():
        first, _, last = item.partition("-")
        ends += [chr(code) for code in range(int(first, 16), int(last or first, 16) + 1)]
    return frozenset(ends)


_ENDS = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E "
    "1735-1736 17D4-17D6 17D9-17DA 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E "
    "1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C 2E53-2E54 3002 A4FF A60E-A60F A6F3 A6F7 "
    "A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F FF61"
)


def is_punctuation(token: str) -> bool:
    """Whether every character is of Unicode's category P, as spaCy asks of a token."""
    return all(unicodedata.category(c)[0] == "P" for c in token)


@functools.cache
def sentencizer_ends() -> frozenset[str]:
    """Tokens after which spaCy's sentencizer begins a new sentence: these marks, alone."""
    return sentence_ends() - frozenset("࠷࠹࠽࠾។៕៖៙៚᭽᭾⹓⹔")
