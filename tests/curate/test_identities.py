import random

import pyarrow as pa
import pytest

from pretrain.curate import checksums, identities, sensitive


def found(text: str) -> list[tuple[str, str]]:
    column = pa.array([text], pa.large_string())
    kinds = ["iban", "card", "national_id"]
    spans = next((s for _, s in sensitive.find(column, kinds).by_text()), [])
    return [(text.encode()[start:end].decode(), kind) for start, end, kind in spans]


IBANS = ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "gb42nawi04454264788619"]
CARDS = ["4111111111111111", "5555-5555-5555-4444", "3782 822463 10005", "30569309025904"]
ANYWHERE = [
    *("460-89-9847", "AB 12 34 56 C", "255081416802538", "RSSMRA85T10A562S", "529.982.247-25"),
    *("85.07.30-033.28", "756.9217.0769.85", "11010519491231002X"),
]
NAMED = [
    *("SSN: 460 89 9847", "Social Security no 460899847", "NINO AB123456C", "CPF 52998224725"),
    *("Steuer-ID: 86095742719", "Steuer-IdNr. 86 095 742 719", "DNI 12345678Z", "NIE X-1234567-L"),
    *("Aadhaar 2341 2341 2346", "PESEL: 44051401359", "BSN 111222333", "personnummer 811218-9876"),
    *("card 501864667909", "cc 4047737215142"),
]


@pytest.mark.parametrize("written", IBANS + CARDS + ANYWHERE)
def test_known_by_form_and_check_digits(written: str) -> None:
    assert [w for w, _ in found(f"It is {written}, then")] == [written]


@pytest.mark.parametrize("text", NAMED)
def test_weak_ones_need_their_name(text: str) -> None:
    ((number, _),) = found(f"My {text}.")
    assert found(f"It is {number}, then") == []


@pytest.mark.parametrize("written", [*IBANS, *CARDS, *ANYWHERE[2:], *NAMED[3:]])
def test_a_wrong_digit_is_none(written: str) -> None:
    at = max(i for i, c in enumerate(written) if c.isdigit())
    wrong = written[:at] + str((int(written[at]) + 1) % 10) + written[at + 1 :]
    assert found(f"My {wrong}.") == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "000-12-3456",
            "666-12-3456",
            "912-34-5678",
            "123-45-6789",
            "460-89-98470",
            "1460-89-9847",
        ),
        *("BG 12 34 56 C", "44111111111111110", "x4111111111111111", "0.4111111111111111"),
        *(
            "1111 1111 1111 1111",
            "4111 1111 1111 1111 2222",
            "DE89 3704 0044 0532 0130 01",
            "IN 12",
        ),
    ],
)
def test_what_is_none(text: str) -> None:
    assert found(text) == []


def test_random_numbers_are_seldom_taken() -> None:
    draw = random.Random(3)
    numbers = ["".join(draw.choices("0123456789", k=draw.randrange(7, 20))) for _ in range(5000)]
    column = pa.array([f"row {n};" for n in numbers], pa.large_string())
    assert len(sensitive.find(column).rows) <= 15


def test_lengths_of_accounts() -> None:
    assert identities.IBAN_LENGTHS["NO"] == 15
    assert all(15 <= n <= 34 for n in identities.IBAN_LENGTHS.values())
    assert checksums.iban("DE89370400440532013000")
