"""Published valid numbers pass; no change of a single digit does."""

import pytest

from pretrain.curate import checksums

VALID = {
    checksums.luhn: ["4111111111111111", "79927398713"],
    checksums.iban: ["DE89370400440532013000", "GB82WEST12345698765432"],
    checksums.verhoeff: ["2363", "123451", "234123412346"],
    checksums.steuer_id: ["86095742719", "47036892816"],
    checksums.nir: ["255081416802538"],
    checksums.spanish: ["12345678Z", "X1234567L"],
    checksums.codice_fiscale: ["RSSMRA85T10A562S", "MRTMTT91D08F205J"],
    checksums.cpf: ["52998224725"],
    checksums.pesel: ["44051401359"],
    checksums.bsn: ["111222333"],
    checksums.belgian: ["85073003328"],
    checksums.ahv: ["7569217076985"],
    checksums.chinese: ["11010519491231002X"],
    checksums.swedish: ["8112189876", "198112189876"],
    checksums.ssn: ["460899847"],
    checksums.none: ["AB123456C"],
}
NO_CHECK = (checksums.ssn, checksums.none)


@pytest.mark.parametrize("check", VALID, ids=lambda f: f.__name__)
def test_valid_numbers_pass_and_changed_ones_do_not(check) -> None:
    for number in VALID[check]:
        assert check(number)
        if check in NO_CHECK:
            continue
        for at, digit in enumerate(number):
            if digit.isdigit() and not (
                check is checksums.swedish and len(number) == 12 and at < 2
            ):
                wrong = number[:at] + str((int(digit) + 1) % 10) + number[at + 1 :]
                assert not check(wrong), wrong


def test_numbers_never_given_out() -> None:
    assert not any(map(checksums.ssn, ["000123456", "666123456", "900123456", "123001234"]))
    assert not checksums.cpf("11111111111")
    assert not checksums.bsn("000000000")
