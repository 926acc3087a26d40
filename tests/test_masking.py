"""What is masked, what stays, and that no text makes it slow. Pure."""

from __future__ import annotations

import base64
import json
import subprocess
import sys

import pytest

from claude_nb.masking import mask

pytestmark = pytest.mark.pure

# Nothing here is anybody's: made up, or the examples of the services' own manuals.
SECRETS = {
    "sk-ant-api03-abcDEF123_x-yz": "sk-a…[masked]",
    "OPENAI_API_KEY=sk-proj-abc123DEF456ghi789jkl": "OPENAI_API_KEY=sk-p…[masked]",
    "ghp_abcdefghijklmnopqrst1234567890": "ghp_…[masked]",
    "gho_abcdefghijklmnopqrst1234567890": "gho_…[masked]",
    "github_pat_11ABCDEFG0abcdefghijkl_mnop": "gith…[masked]",
    "AKIAIOSFODNN7EXAMPLE": "AKIA…[masked]",
    "aws_secret_key: wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "aws_secret_key: wJal…[masked]",
    "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiEX": "AWS_SECRET_ACCESS_KEY=wJal…[masked]",
    "xoxb-1234567890-abcdefghij": "xoxb…[masked]",
    "xoxp-1234567890-abcdefghij": "xoxp…[masked]",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N": "eyJh…[masked]",
    "Authorization: Bearer abc.def-123456789": "Authorization: Bearer abc.…[masked]",
    "Authorization: Basic dXNlcjpwYXNzMTIz": "Authorization: Basic dXNl…[masked]",
    "postgres://joe:s3cr3t@host/db": "postgres://joe:[masked]@host/db",
    "postgres://joe:p@ss@host/db": "postgres://joe:[masked]@host/db",
    '{"password": "hunter2", "user": "me"}': '{"password": "[masked]", "user": "me"}',
    r"{\"password\": \"hunter2\"}": r"{\"password\": \"[masked]\"}",
    "{'token': 'abc12345xyz'}": "{'token': '[masked]'}",
    "password=hunter2&x=1": "password=[masked]&x=1",
    "password: Tr0ub4dor&3": "password: [masked]",
    'password = "$3cret"': 'password = "[masked]"',
    "token: abc12345xyz": "token: [masked]",
    'api_key = "abc"': 'api_key = "[masked]"',
    'os.environ["API_KEY"] = "abcd1234efgh5678"': 'os.environ["API_KEY"] = "abcd…[masked]"',
    'secret: str = "foo-bar"': 'secret: str = "[masked]"',
    "key=AbCd1234EfGh5678IjKl90": "key=AbCd…[masked]",
    "Your API key is AbC123xyz789QwErTy456": "Your API key is AbC1…[masked]",
    "deploy --token abcd1234": "deploy --token [masked]",
    "h = 'Authorization: Basic dXNlcjpwYXNzd29yZDEyMw=='": "h = 'Authorization: Basic dXNl…[masked]'",
    "curl -H 'basic dXNlcjpwdw'": "curl -H 'basic [masked]'",
    "password: sekrit": "password: [masked]",
    "password = sekrit": "password = [masked]",
    "db.password = sekrit1": "db.password = [masked]",
    "user=joe, password = sekrit": "user=joe, password = [masked]",
    "password: Sekrit": "password: [masked]",
    "login --password sekrit": "login --password [masked]",
}

HARMLESS = [
    "token: str",
    "token = tokenizer.next()",
    "password = getpass()",
    "secret = os.environ['X']",
    "connect(password=db_password)",
    "password = None",
    "password is required",
    "KeyError: 'password'",
    'SECRET_KEY = f"{value}"',
    "max_tokens=4096",
    "tokens: 123",
    "sorted(rows, key=len)",
    "key=lambda x: x",
    "key: value",
    "keyboard=1",
    'df[["key", "token"]]',
    "   key  token\n0    a      b\n1    c      d",
    "pwd: /home/me/projects",
    "sk-learn-contrib-projects",
    "primary key 123e4567-e89b-12d3-a456-426614174000",
    "commit da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "id 123e4567-e89b-12d3-a456-426614174000",
    "3.14159265358979323846264338327950288",
    "           a         b\ncount  10.000000  10.000000\nmean    0.123456   0.654321",
    "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 4).decode(),
    "bearer authentication is used",
    # What manuals and programs say about secrets.
    "Create a basic Altair/Vega-Lite chart.",
    "Subclass this to create a basic WebSocket handler.",
    "Bearer Token/OAuth is one",
    'wait for the "password:" prompt of ssh',
    "child.expect('Password:')",
    "def unix_getpass(prompt='Password: ', stream=None):",
    ":param password: When `True`, display using asterisks.",
    ":arg str proxy_password: HTTP proxy password",
    "provided via the --username and --password options",
    "[--access-token <token>] [--secret SECRET]",
    '"AWS_SECRET_ACCESS_KEY": "THE_AWS_SECRET_ACCESS_KEY"',
    "postgresql://username:password@server:port/database",
    'f"s3://{access_key}:{secret_key}@bucket"',
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "remember_me token123 --expires=1893456000",
    "key1=value1//key2=value2//and-so-on",
    "def show(password: bool = False, secret: Path | None = None):",
    "username, password = auth",
    "host, access_key, secret_key = s3_connection",
    "self._secret_value = value",
    'secret = tmp_path / "secret.txt"',
    "refresh_token = await provider.load()",
    "public_key: ed25519.Ed25519PublicKey",
    "http://localhost:8888/lab?x=1",
]

# A million characters of each are masked in some three seconds.
PATIENCE = 120.0
MASK_ALL = """
import json, sys
from claude_nb.masking import mask
for piece in json.load(sys.stdin):
    print(repr(piece), file=sys.stderr, flush=True)
    mask((piece * 1_000_000)[:1_000_000])
"""
HOSTILE = [
    *("eyJ", "eyJ.", "sk-", "password=", "password", "key ", "://a:", "a:@", '="', '\\"', " ", "a", "--a-"),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        'token="',
        "Bearer ",
        "key                 ",
        'password="""',
    ),
    *(
        "SG.aaaaaaaaaaaaaaaaaaaa.",
        "password=a.",
        "password=(",
        "secret secret:",
        "[masked]",
        "token\\",
        "key,a=,",
        "password = a",
        "a, password = a",
        "password: Word ",
        "Basic QUJD",
    ),
]


@pytest.mark.parametrize(("text", "masked"), SECRETS.items())
def test_a_secret_is_masked_and_what_stands_around_it_stays(text: str, masked: str) -> None:
    assert mask(text) == masked
    assert mask(masked) == masked
    assert mask(f"first line\n{text}\nlast line") == f"first line\n{masked}\nlast line"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_a_private_key_is_masked_also_when_its_end_is_missing() -> None:
    body = "MIIEowIBAAKCAQEA\nabc+def/123==\n"
    whole = f"before\n-----BEGIN RSA PRIVATE KEY-----\n{body}-----END RSA PRIVATE KEY-----\nafter"
    for text in (whole, whole.partition("-----END")[0]):
        masked = mask(text)
        assert "MII" not in masked
        assert "abc+" not in masked
        assert masked.startswith("before\n-----BEGIN RSA PRIVATE KEY-----\n[masked]\n")
    assert mask(whole).endswith("-----END RSA PRIVATE KEY-----\nafter")


def test_no_text_makes_it_slow() -> None:
    """In a process of its own: a pattern that backtracks takes hours, and lets nobody interrupt it."""
    masking = subprocess.run(
        [sys.executable, "-c", MASK_ALL], input=json.dumps(HOSTILE), text=True, timeout=PATIENCE, check=True
    )
    assert masking.returncode == 0
