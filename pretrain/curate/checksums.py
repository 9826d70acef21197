"""Check digits and letters of account, card and identity numbers: `f(digits) -> bool`.

A random number passes mod 97 once in 97, Luhn, Verhoeff and ISO 7064 mod 11,10 once in 10, a
check letter once in 23 or 26. Digits come as a str without separators.
"""

_TURN = "1576283094"  # Verhoeff's permutation: 0 -> 1, 1 -> 5, …

_SPANISH = "TRWAGMYFPDXBNJZSQVHLCKE"
_ODD = (
    1,
    0,
    5,
    7,
    9,
    13,
    15,
    17,
    19,
    21,
    2,
    4,
    18,
    20,
    11,
    3,
    6,
    8,
    12,
    14,
    16,
    10,
    22,
    25,
    24,
    23,
)


def luhn(digits: str) -> bool:
    """Cards, Swedish personnummer, Canadian SIN."""
    doubled = [int(d) * 2 for d in digits[-2::-2]]
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 * (d > 9) for d in doubled)) % 10 == 0


def iban(account: str) -> bool:
    """ISO 13616: letters as 10 to 35, the first four characters last, 1 mod 97."""
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


def verhoeff(digits: str) -> bool:
    """Indian Aadhaar."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        for _ in range(place % 8):
            digit = _TURN[int(digit)]
        check = _turned(check, int(digit))
    return check == 0


def _turned(a: int, b: int) -> int:
    """The product of two symmetries of a pentagon: 0 to 4 are rotations, 5 to 9 reflections."""
    rotation = (a + b if a < 5 else a - b) % 5
    return rotation if (a < 5) == (b < 5) else rotation + 5


def steuer_id(digits: str) -> bool:
    """German tax number: ISO 7064 mod 11,10; of its first ten digits one comes two or three times,
    the others at most once.
    """
    counts = sorted(digits[:10].count(d) for d in set(digits[:10]))
    if digits[0] == "0" or counts[-1] not in (2, 3) or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for digit in digits[:10]:
        product = 2 * ((int(digit) + product) % 10 or 10) % 11
    return (11 - product) % 10 == int(digits[10])


def nir(digits: str) -> bool:
    """French social security: a month, a place, and 97 - (first 13) mod 97 as the last two."""
    return (
        digits[0] in "12"
        and (1 <= int(digits[3:5]) <= 12 or 20 <= int(digits[3:5]) <= 42)
        and digits[5:7] != "00"
        and 97 - int(digits[:13]) % 97 == int(digits[13:])
    )


def spanish(number: str) -> bool:
    """DNI and NIE: eight digits (X, Y, Z for 0, 1, 2) mod 23 choose the letter."""
    digits = str("XYZ".index(number[0])) + number[1:8] if number[0] in "XYZ" else number[:8]
    return _SPANISH[int(digits) % 23] == number[8]


def codice_fiscale(code: str) -> bool:
    """Italian tax code: values of odd and even places, mod 26, as the last letter."""
    places = [int(c, 36) - 10 if c.isalpha() else int(c) for c in code[:15]]
    odd = sum(_ODD[n] for n in places[0::2])  # as a digit counts, so does its letter
    even = sum(places[1::2])
    return (odd + even) % 26 == ord(code[15]) - 65


def cpf(digits: str) -> bool:
    """Brazilian tax number: two digits mod 11, not eleven times the same."""
    return len(set(digits)) > 1 and all(
        sum(int(d) * (n + 1 - i) for i, d in enumerate(digits[:n])) * 10 % 11 % 10 == int(digits[n])
        for n in (9, 10)
    )


def pesel(digits: str) -> bool:
    """Polish PESEL: weights 1 3 7 9, and a month and day."""
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)
    total = sum(int(d) * w for d, w in zip(digits[:10], weights, strict=True))
    return (
        (total + int(digits[10])) % 10 == 0
        and 1 <= int(digits[2:4]) % 20 <= 12
        and 1 <= int(digits[4:6]) <= 31
    )


def bsn(digits: str) -> bool:
    """Dutch BSN: weights 9 to 2 and -1, mod 11."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    total = sum(int(d) * w for d, w in zip(digits, weights, strict=True))
    return total % 11 == 0 and len(set(digits)) > 1


def belgian(digits: str) -> bool:
    """Belgian national number: 97 - (first nine) mod 97, a 2 before them for those born later."""
    return any(97 - int(first + digits[:9]) % 97 == int(digits[9:]) for first in ("", "2"))


def ahv(digits: str) -> bool:
    """Swiss AHV number: 756 and the check digit of EAN-13."""
    return (
        digits[:3] == "756" and sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(digits)) % 10 == 0
    )


def chinese(number: str) -> bool:
    """Resident identity number: ISO 7064 mod 11-2 over 17 digits, with a date."""
    total = sum(int(d) * pow(2, 17 - i, 11) for i, d in enumerate(number[:17]))
    return (
        "10X98765432"[total % 11] == number[17]
        and number[6:8] in ("18", "19", "20")
        and 1 <= int(number[10:12]) <= 12
        and 1 <= int(number[12:14]) <= 31
    )


def swedish(digits: str) -> bool:
    """Personnummer: Luhn over the last ten digits, whether the century is written or not."""
    return luhn(digits[-10:]) and 1 <= int(digits[-8:-6]) <= 12


def none(code: str) -> bool:
    """A number without a check digit: UK NINO."""
    return True


def ssn(digits: str) -> bool:
    """US social security number: no checksum, only areas, groups and serials never given out."""
    return (
        digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in ("078051120", "123456789", "219099999")
    )
