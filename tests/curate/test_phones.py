import pyarrow as pa
import pytest

from pretrain.curate import phones, sensitive


def found(text: str) -> list[str]:
    column = pa.array([text], pa.large_string())
    spans = next((s for _, s in sensitive.find(column, ["phone"]).by_text()), [])
    return [text.encode()[start:end].decode() for start, end, _ in spans]


@pytest.mark.parametrize(
    "number",
    [
        *("+1-984-182-0190", "+46 (0)8 928 571 38", "+447700 921 916", "001-518-640-0854"),
        *(
            "905-674-3793",
            "(579)888-3058",
            "345-899-3560x4587",
            "259.735.7502x459",
            "1-888-595-5485",
        ),
        *("01.84.17.61.18", "01 84 17 61 18", "07700 063 966", "0171/1234567", "(089) 123456"),
        *("+33 1 84 17 61 18", "+4930123456", "+34 612 345 678", "+91 98765 43210"),
    ],
)
def test_numbers_are_known_by_their_form(number: str) -> None:
    assert found(f"It is {number}, then") == [number]


@pytest.mark.parametrize(
    "text",
    [
        *("Phone: 467 3395", "call me at 72 128 827", "Fax: 9498777106", "Tél. 71-33-52-22"),
        *("Mobile:\n699 956 915", "whatsapp 0393 1144137", "781 1704 office", "9472 7916-Fax"),
    ],
)
def test_other_forms_need_a_word(text: str) -> None:
    (number,) = found(text)
    assert sum(c.isdigit() for c in number) >= 7
    assert found(f"It is {number}, then") == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2010-02-01 16:20",
            "phone 2010-02-01",
            "fax 1998-2000",
            "tel 01/02/2003",
            "20080202194044",
        ),
        *("ISBN 978-0-201-53082-7", "ISBN 0-201-53082-1", "1234567890", "call 3.14159265 now"),
        *("12 345 678 901", "0 1 2 3 4 5 6 7 8 9", "00 01 02 03 04 05 06", "phone 85.214.132.117"),
        *(
            "202-555-0100",
            "(212) 555-0199",
            "call 800-111-4567",
            "$123-456-7890",
            "id-212-664-7665",
        ),
        *("+1234567890 -12345678", "x+447700921916", "12.1.0-530.30.02-1", "+0123 456 789 012"),
    ],
)
def test_what_is_no_number_of_a_telephone(text: str) -> None:
    assert found(text) == []


def test_the_replacement_is_reserved() -> None:
    assert found(f"Phone: {phones.RESERVED}") == []
