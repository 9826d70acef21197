"""Numbers as people read them: separators, units, as many digits as mean something."""

import math

NONE = "–"
Number = int | float | None


def known(value: Number) -> bool:
    """Whether a value is there and finite."""
    return isinstance(value, int | float) and math.isfinite(value)


def count(value: Number) -> str:
    """12345 → 12,345"""
    return f"{value:,.0f}" if value is not None and known(value) else NONE


def some(n: int, noun: str) -> str:
    """1 document, 2 documents"""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def short(value: Number) -> str:
    """3123456 → 3.12 M"""
    if value is None or not known(value):
        return NONE
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 0.9995 * unit and (unit > 1e3 or abs(value) >= 1e4):
            return f"{significant(value / unit)} {name}"
    return significant(value) if abs(value) < 1000 else f"{value:,.0f}"


def n_bytes(value: Number) -> str:
    """34123456 → 34.1 MB"""
    if value is None or not known(value):
        return NONE
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= 0.9995 * unit:
            return f"{significant(value / unit)} {name}"
    return f"{value:,.0f} B"


def significant(value: Number, digits: int = 3) -> str:
    """Three significant digits, without an exponent between 0.0001 and a million."""
    if value is None or not known(value):
        return NONE
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if exponent < -4 or exponent >= 6:
        mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa}×10{str(int(power)).translate(_RAISED)}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def seconds(value: Number) -> str:
    """0.07 s, 8.2 s, 3 min 20 s, 2 h 05 min, 3.2 days"""
    if value is None or not known(value):
        return NONE
    if value < 0.9995:
        return f"{significant(1000 * value, 2 if value < 0.1 else 3)} ms"
    if value < 59.5:
        return f"{value:.1f} s" if value < 9.95 else f"{value:.0f} s"
    whole = round(value)
    if value < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if value < 172_800:
        minutes = round(value / 60)
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{value / 86_400:.1f} days"


def percent(part: Number, whole: Number) -> str:
    """12.3 %; what is not nothing is never shown as 0, what is not all never as 100."""
    if part is None or not whole or not known(part) or not known(whole):
        return NONE
    share = 100 * part / whole
    if part and abs(share) < 0.05:
        return "<0.1 %"
    if part != whole and 99.95 <= share < 100:
        return ">99.9 %"
    return f"{share:.1f} %" if part not in (0, whole) else f"{share:.0f} %"


def ratio(part: Number, whole: Number) -> str:
    """1.23 ×"""
    if part is None or not whole or not known(part) or not known(whole):
        return NONE
    return f"{significant(part / whole)} ×"


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
