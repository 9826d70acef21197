import pytest

from pretrain.report import formats


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (formats.count(1234567), "1,234,567"),
        (formats.count(None), "–"),
        (formats.count(float("nan")), "–"),
        (formats.short(999), "999"),
        (formats.short(9999), "9,999"),
        (formats.short(999_950), "1.00 M"),
        (formats.short(5_049_088), "5.05 M"),
        (formats.n_bytes(812), "812 B"),
        (formats.n_bytes(34_123_456), "34.1 MB"),
        (formats.significant(0), "0"),
        (formats.significant(0.999999), "1.00"),
        (formats.significant(-12.345), "-12.3"),
        (formats.significant(6.99e-7), "6.99×10⁻⁷"),
        (formats.significant(2.04e9), "2.04×10⁹"),
        (formats.significant(float("inf")), "–"),
        (formats.seconds(0.0704), "70 ms"),
        (formats.seconds(8.17), "8.2 s"),
        (formats.seconds(59.7), "1 min 00 s"),
        (formats.seconds(200), "3 min 20 s"),
        (formats.seconds(7500), "2 h 05 min"),
        (formats.seconds(300_000), "3.5 days"),
        (formats.percent(1, 100_000), "<0.1 %"),
        (formats.percent(99_999, 100_000), ">99.9 %"),
        (formats.percent(0, 5), "0 %"),
        (formats.percent(5, 5), "100 %"),
        (formats.percent(1, 0), "–"),
        (formats.ratio(12, 10), "1.20 ×"),
        (formats.ratio(1, 0), "–"),
        (formats.some(1, "file"), "1 file"),
        (formats.some(2000, "file"), "2,000 files"),
    ],
)
def test_numbers_as_people_read_them(made: str, expected: str) -> None:
    assert made == expected
