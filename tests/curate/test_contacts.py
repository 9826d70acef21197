import pyarrow as pa
import pytest

from pretrain.curate import contacts, sensitive


def found(text: str) -> list[str]:
    column = pa.array([text], pa.large_string())
    spans = next((s for _, s in sensitive.find(column, ["email", "ip"]).by_text()), [])
    return [text.encode()[start:end].decode() for start, end, _ in spans]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("write to jane.doe+x@mail.co.uk.", ["jane.doe+x@mail.co.uk"]),
        ("<a@b.de>, 'c_d@e.org'", ["a@b.de", "c_d@e.org"]),
        ("_x@y.com_ a@b.com.Then", ["_x@y.com", "a@b.com"]),
        ("server 85.214.132.117:80 down", ["85.214.132.117"]),
        ("at 2a00:1450:4001:81b::200e now", ["2a00:1450:4001:81b::200e"]),
        ("ä ö ü x@y.com 93.184.216.34.", ["x@y.com", "93.184.216.34"]),
        ("Braden@ISI.EDU", ["Braden@ISI.EDU"]),
    ],
)
def test_addresses_are_found(text: str, what: list[str]) -> None:
    assert found(text) == what


@pytest.mark.parametrize(
    "text",
    [
        "email@example.com me@host.example you@sub.example.org",
        "127.0.0.1 10.1.2.3 192.168.1.77 172.16.9.9 169.254.1.1 224.0.0.251 255.255.255.0",
        "192.0.2.17 198.51.100.4 203.0.113.9 2001:db8::1 fe80::1 ::1",
        "version 10.12.13.140, v10.12.13.140, firmware: 11.22.33.44, Section 41.2.1.10",
        "1.2.3.4 and 10.20.30.40.50 and 01.22.33.44 and 300.12.13.14 and 11.22.33.44-rc1",
        "4.2.2.10 Simultaneous Open; see 12.1.1.2 and |4.2.2.16|",
        "@property icon@2x.png user@host pkg@1.2.3 a @ b.com a@b getty@tty1.service foo@GLIBC_2.4",
        "git@github.com:foo/bar.git bob@host.org:src/main.c bob@host.org:/tmp ssh://me@host.org/x",
        "2a00:1450::18.8 std::vector a::b 12:34:56 00:1a:2b:3c:4d:5e 2024:10:11",
    ],
)
def test_what_is_no_address_or_is_reserved_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("name", "abcdefgh")
def test_a_second_at_sign_does_not_make_a_new_address_of_the_replacement(name: str) -> None:
    text = f"a@{name}@c.org x@b.com@{name}.org"
    assert len(found(text)) == 2


def test_one_address_has_one_replacement_and_it_is_reserved() -> None:
    assert contacts.email_replacement("A.B@c.com") == contacts.email_replacement("a.b@C.com")
    assert contacts.reserved(contacts.email_replacement("x@y.de").partition("@")[2].encode())
    for address in ("85.214.132.117", "2a00:1450::1", "not an address"):
        assert found(f"at {contacts.ip_replacement(address)} now") == []
    assert contacts.known_top(b"DE")
    assert contacts.known_top(b"xn--p1ai")
    assert not contacts.known_top(b"service")
