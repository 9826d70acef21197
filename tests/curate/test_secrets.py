import pyarrow as pa
import pytest

from pretrain.curate import secrets, sensitive

HEX = "0123456789abcdef" * 2
DRAWN = "aB3dE6gH9jK2mN5pQ8sT1vW4yZ7"


def found(text: str) -> list[str]:
    column = pa.array([text], pa.large_string())
    spans = next((s for _, s in sensitive.find(column, ["secret"]).by_text()), [])
    return [text.encode()[start:end].decode() for start, end, _ in spans]


@pytest.mark.parametrize(
    "token",
    [
        *("AKIA2E5XQHJ7NPWRTV4K", f"ghp_{DRAWN}{DRAWN}"[:40], f"github_pat_{DRAWN}{DRAWN}_x"),
        *(f"glpat-{DRAWN}"[:26], f"xoxb-2{DRAWN}", f"sk_live_{DRAWN}", f"AIza{DRAWN}{DRAWN}"[:39]),
        *(f"hf_{DRAWN}{DRAWN}"[:37], f"npm_{DRAWN}{DRAWN}"[:40], f"SG.{DRAWN}.{DRAWN}{DRAWN}"),
        *(f"sk-proj-{DRAWN}{DRAWN}", f"sk-ant-api03-{DRAWN}{DRAWN}", f"SK{HEX[::-1]}"),
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.{DRAWN}",
    ],
)
def test_tokens_of_known_services(token: str) -> None:
    for text in (f"use {token} here", f'x="{token}"', f"{token}", f"a={token},b"):
        assert found(text) == [token]
    assert found(f"x{token}") == []


def test_private_keys_to_their_end() -> None:
    body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
    for name in ("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "):
        key = f"-----BEGIN {name}PRIVATE KEY-----\n{body}-----END {name}PRIVATE KEY-----"
        assert found(f"a\n{key}\nb") == [key]
    cut = f"-----BEGIN PRIVATE KEY-----\n{body}"
    assert found(cut + "and so on") == [cut.rstrip("\n")]
    assert found(f"-----BEGIN PUBLIC KEY-----\n{body}-----END PUBLIC KEY-----") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("password = 'aZ9kqL2mX7'", "aZ9kqL2mX7"),
        ('"api_key": "8f14e45fceea167a"', "8f14e45fceea167a"),
        ("SECRET_KEY=9d8K2mQ7xP4wL1zT", "9d8K2mQ7xP4wL1zT"),
        ("AccountKey=" + DRAWN * 3 + "==;Endpoint", DRAWN * 3 + "=="),
        ("https://bob:hG7x9Qz@host.org/x", "bob:hG7x9Qz"),
        ("postgres://app:p4Q9w_zR@db:5432/x", "app:p4Q9w_zR"),
    ],
)
def test_values_that_are_assigned(text: str, value: str) -> None:
    assert found(text) == [value]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "password = getpass()",
            "password: string",
            'token = "your-token-here1"',
            "token: <secret>",
        ),
        *("api_key = os.environ['KEY_1']", "password = settings.PASSWORD1", "The key: 42 is it"),
        *('secret = "${SECRET_1}"', 'password = "password123"', "keyboard = 'aZ9kqL2mX7'"),
        *(
            "AKIAIOSFODNN7EXAMPLE",
            "sk-learn-is-a-package-of-python-3",
            "https://user:pass@host.org",
        ),
        *(
            "smb://usuari:clau@servidor.org",
            "pageToken=f74d46f3f622c670e1bc",
            "http://h.org:80/a@b",
        ),
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert found(text) == []


def test_what_looks_random() -> None:
    assert secrets.looks_random(b"aZ9kqL2mX7")
    assert not secrets.looks_random(b"tomorrow1")
    assert not secrets.looks_random(b"aaaa1111")
    assert secrets.entropy(b"abcd") == 2
