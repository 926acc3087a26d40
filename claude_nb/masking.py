"""Masks what looks like a key or a token, before text leaves the notebook or is written down.

By shape: the tokens of known services, private keys, JSON web tokens, bearer headers, passwords in addresses.
By name: the value behind `password=`, `api_key: `, `"token": ` and the like. What has neither, such as a
UUID, a hash, numbers or an encoded image, stays. It is help against an accident, not a promise: an unknown
secret without a name looks like any other text.

Every pattern is bounded or possessive, so the time is linear in the text's length, whatever the text is.
"""

from __future__ import annotations

import base64
import keyword
import re
from contextvars import ContextVar

_MASKED = "[masked]"

# So much of a long secret helps to tell which one it is, and nobody to use it.
_HARMLESS = 4
_LONG = 16

# What has been replaced, where somebody wants to know.
_replaced: ContextVar[set[str] | None] = ContextVar("claude_nb_replaced", default=None)

_SHAPES = re.compile(
    r"""(?<![A-Za-z0-9])(?:
      sk-ant-[\w-]{8,512}+
    | sk-[\w-]{16,512}+
    | [spr]k_(?:live|test)_\w{8,256}+
    | gh[pousr]_[A-Za-z0-9]{16,512}+
    | github_pat_\w{16,512}+
    | glpat-[\w-]{16,256}+
    | (?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | xox[a-z]-[\w-]{10,512}+ | xapp-[\w-]{10,512}+
    | AIza[\w-]{35}
    | hf_[A-Za-z0-9]{20,256}+ | npm_[A-Za-z0-9]{30,256}+ | pypi-[\w-]{30,512}+
    | SG\.[\w-]{16,64}+\.[\w-]{16,128}+
    | eyJ[\w-]{8,8192}+\.[\w-]{8,16384}+(?:\.[\w-]{0,8192}+)?
    )""",
    re.VERBOSE,
)
_SCHEME = re.compile(r"\b(?P<scheme>Bearer|Basic)(?P<space>[ \t]{1,4})(?P<value>[\w.~+/=-]{8,8192}+)", re.I)
_ADDRESS = re.compile(r"(?<=://)(?P<user>[^\s/:@'\"<>]{0,128}):(?P<value>[^\s/'\"<>]{1,256})@")
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_KEY_ENDS = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_ENCODED = re.compile(r"[A-Za-z0-9+/=\s\\]{0,16384}+")

# Names of secrets, the strong and the weak ones; `tokens` and `keyboard` are others.
_STRONG = (
    r"passw(?:or)?d|passphrase|pwd|secret|credential|api[_ -]?key|apikey|access[_ -]?key|secret[_ -]?key|"
    r"private[_ -]?key|signing[_ -]?key|encryption[_ -]?key|account[_ -]?key|auth[_ -]?key|"
    r"access[_ -]?token|auth[_ -]?token|refresh[_ -]?token|bearer[_ -]?token"
)
_NAMED = re.compile(
    rf"""(?P<name>(?:{_STRONG})|token|key|authorization|signature)
    (?P<suffix>(?:_?(?:base|value|string|text|env|prod|dev|test)|_?\d{{1,3}})?(?![A-Za-z0-9_]))
    (?P<between>
        \\?["'\])]{{0,3}} [ \t]{{0,8}}
        (?: :[ \t]{{0,4}}(?:str|bytes|SecretStr|Optional\[str\]|str[ ]\|[ ]None)[ \t]{{0,4}}=
          | :=|=>|={{1,2}}|:
          | (?<=[ \t])(?:is|was)(?=[ \t]) | (?<=[ \t])
        )[ \t]{{0,8}}
    )
    (?: (?P<prefix>[fbruFBRU]{{0,2}}(?P<quote>\\?(?:\"{{3}}|'{{3}}|["'])))
        (?P<quoted>(?:(?!(?P=quote))[^\n]){{1,1024}}+)
      | (?P<bare>(?:[^\s"'`,;)\]}}<>&]|,(?=[^\s"'])|&(?!\w{{1,64}}=)){{1,1024}}+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_IS_STRONG = re.compile(_STRONG, re.IGNORECASE)
_OPTION = re.compile(
    r"(?P<name>--[a-z-]{0,20}(?:password|token|secret|api-key))(?P<between>[ \t]{1,4})"
    r"(?P<bare>[^\s'\"]{4,512}+)"
)
_WORDS = ("pass", "pwd", "secret", "credential", "key", "token", "authorization", "signature")

# What stands for a value and is none.
_NO_VALUE = re.compile(
    r"(?:none|null|nil|true|false|str|string|bytes|int|float|number|bool|boolean|object|any|list|dict|tuple|"
    r"optional|required|undefined|nan|type|string\?|"
    r"(?-i:[A-Z][A-Z_]*_(?:KEY|SECRET|TOKEN|PASSWORD|PASS|CREDENTIALS?|ID)|[A-Z_]{0,32}(?:SECRET|TOKEN|PASSWORD))|"
    r"[*x•.…_-]{1,64}|\{.{0,1024}|<[^>]{0,64}>|\$\{\w{1,64}\}|(?-i:\$[A-Z_]{2,64})|%s|%\(\w{1,64}\)s)",
    re.IGNORECASE | re.DOTALL,
)
# `getpass()`, `config.password`, `os.environ[`: code that makes a value.
_CODE = re.compile(r"[A-Za-z_]\w{0,64}+(?:\.[A-Za-z_]\w{0,64}+){0,8}+(?P<call>[(\[])?")
# What makes of a name beside it one of a program: it is assigned together with others, or computed with.
_ASSIGNED = re.compile(r"\s*+(?:[\w.]{1,64}+, {0,4}){1,16}+[\w.]{0,64}+|\s*+(?:self|cls)\.\w{0,64}+")
_COMPUTED = re.compile(r"[ \t]{0,8}(?:[=/+*|%(\[]|(?:if|or|and|for|is|in|not)\b)")
_ANNOTATED = re.compile(r"[ \t]{0,8}[=|]")
# Prose goes on behind a word that begins a sentence: `:param password: When it is`.
_GOES_ON = re.compile(r"[ \t]{1,4}[`'\"(]{0,4}[A-Za-z]{1,32}+(?![\w=:])")
_SENTENCE = re.compile(r"[A-Z][a-z]{1,32}|[A-Z]{2,8}")
# What may follow an option's name in prose.
_OF_OPTIONS = frozenset(
    {"option", "options", "argument", "arguments", "flag", "flags", "parameter", "parameters", "instead"}
    | {
        "requires",
        "needs",
        "takes",
        "with",
        "when",
        "from",
        "then",
        "must",
        "should",
        "will",
        "cannot",
        "does",
        "that",
        "this",
        "into",
    }
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_TOKENISH = re.compile(r"[\w+/=.~:-]{20,1024}+")


def mask(text: str) -> str:
    """The text with its secrets replaced: `sk-a…[masked]`. Masking it again changes nothing."""
    text = mask_tokens(text)
    if "://" in text:
        text = _ADDRESS.sub(_mask_address, text)
    lower = text.lower()
    if "bearer" in lower or "basic" in lower:
        text = _SCHEME.sub(_mask_scheme, text)
    if any(word in lower for word in _WORDS):
        text = _OPTION.sub(_mask_option, text)
        text = _NAMED.sub(_mask_named, text)
    return text


def mask_tokens(text: str) -> str:
    """The text with what has the shape of a known service's token, or is a private key, replaced."""
    text = _mask_private_keys(text)
    return _SHAPES.sub(lambda found: masked(found[0]) if _is_token(found[0]) else found[0], text)


def secrets_in(text: str) -> set[str]:
    """What `mask` would replace in the text."""
    token = _replaced.set(set())
    try:
        mask(text)
        return _replaced.get() or set()
    finally:
        _replaced.reset(token)


def masked(value: str) -> str:
    """What stands for a secret: of a long one its first characters."""
    if _MASKED[:-1] in value:
        return value
    found = _replaced.get()
    if found is not None:
        found.add(value)
    return f"{value[:_HARMLESS]}…{_MASKED}" if len(value) >= _LONG else _MASKED


def _mask_private_keys(text: str) -> str:
    if "PRIVATE KEY" not in text:
        return text
    parts, place, ends = [], 0, True
    while begin := _KEY_BEGINS.search(text, place):
        end = _KEY_ENDS.search(text, begin.end()) if ends else None
        ends = end is not None  # searched in vain once, there is none further on
        stop = end.start() if end else _ENCODED.match(text, begin.end()).end()  # type: ignore[union-attr]
        parts += [text[place : begin.end()], f"\n{_MASKED}\n"]
        place = stop
    return "".join([*parts, text[place:]])


def _is_token(value: str) -> bool:
    """Not just words with hyphens: `sk-learn-contrib-projects`."""
    if not value.startswith("sk-") or value.startswith("sk-ant-"):
        return True
    if value.startswith(("sk-ecdsa-", "sk-ssh-")):  # kinds of keys
        return False
    return any(c.isdigit() for c in value) or (
        value[3:] != value[3:].lower() and value[3:] != value[3:].upper()
    )


def _mask_scheme(found: re.Match[str]) -> str:
    value = found["value"]
    if not (_is_basic(value) if found["scheme"].lower() == "basic" else _is_bearer(value)):
        return found[0]
    return f"{found['scheme']}{found['space']}{masked(value)}"


def _is_basic(value: str) -> bool:
    """A name and a password, encoded; not just a word: `a basic Altair/Vega-Lite chart`."""
    try:
        said = base64.b64decode(value + "=" * (-len(value) % 4), validate=True).decode()
    except ValueError:
        return False
    return ":" in said and said.isprintable()


def _is_bearer(value: str) -> bool:
    """Not just words: `bearer authentication`, `Bearer Token/OAuth`."""
    return _is_mixed(value) or len(value) >= 32 or (len(value) >= 16 and value.isalpha())


def _mask_option(found: re.Match[str]) -> str:
    value = found["bare"]
    word = value.strip(".,:;)]`")
    if word in _OF_OPTIONS or _NO_VALUE.fullmatch(word):
        return found[0]
    return f"{found['name']}{found['between']}{masked(value)}"


def _mask_address(found: re.Match[str]) -> str:
    user, value = found["user"], found["value"]
    if (user in ("user", "username") and value in ("pass", "password")) or value.startswith("{"):
        return found[0]
    return f"{user}:{masked(value)}@"


def _mask_named(found: re.Match[str]) -> str:
    quoted, bare = found["quoted"], found["bare"]
    value = bare if quoted is None else quoted
    start = found.start("bare" if quoted is None else "quoted") - found.start()
    said = any(sign in found["between"] for sign in "=:")  # else it only stands next to it
    strong = _IS_STRONG.fullmatch(found["name"]) is not None
    if quoted is None and _is_of_a_program(found, value):
        return found[0]
    if quoted is not None and not _is_quoted(value):
        return found[0]
    if not _is_secret(value, strong=strong, quoted=quoted is not None, said=said, name=found["name"].lower()):
        return found[0]
    return found[0][:start] + masked(value)


def _is_secret(value: str, *, strong: bool, quoted: bool, said: bool, name: str) -> bool:
    if _MASKED[:-1] in value or _NO_VALUE.fullmatch(value):
        return False
    if not quoted and (value[0] in "([" or _is_code(value)):
        return False
    if name == "pwd" and value[0] in "/~.":
        return False
    random = _is_random(value)
    if not said:
        return random and (strong or name == "token")
    if strong:
        return quoted or len(value) >= 4 or random
    if name in ("token", "authorization"):
        return random or (len(value) >= 8 and (quoted or _is_mixed(value)) and " " not in value)
    return random and not _UUID.fullmatch(value) and not _is_hash(value)


def _is_of_a_program(found: re.Match[str], value: str) -> bool:
    """The word is a variable of a program, or one of a sentence, by what stands around it on its line."""
    text, start, end = found.string, found.start(), found.end()
    if not value.isidentifier():
        return False
    line = text[max(start - 1_000, 0) : start].rpartition("\n")[2]
    if keyword.iskeyword(value) or _ASSIGNED.fullmatch(line):
        return True
    if _is_mixed(value):
        return False
    if ":" in found["between"] and "=" not in found["between"]:
        begins_sentence = _SENTENCE.fullmatch(value) and _GOES_ON.match(text, end)
        return bool(begins_sentence or _ANNOTATED.match(text, end))
    return _COMPUTED.match(text, end) is not None


def _is_quoted(value: str) -> bool:
    """The quote before it opens rather than ends a quotation: `the "password:" prompt`, `'Password:')`."""
    goes_on = value[0].isspace() or value.startswith((", ", ") ", "%(", "% ("))
    return not goes_on and any(character.isalnum() for character in value)


def _is_code(value: str) -> bool:
    """An expression rather than a value: a call, an attribute, a variable that bears the secret's name."""
    found = _CODE.match(value)
    if found is None:
        return False
    whole = found.end() == len(value)
    words = found[0].rstrip("([")
    if "PrivateKey" in words or "PublicKey" in words:
        return True
    if found["call"] or (whole and "." in words and not any(c.isdigit() for c in words)):
        return True
    return whole and not any(c.isdigit() for c in words) and any(word in words.lower() for word in _WORDS)


def _is_random(value: str) -> bool:
    """Long, of one piece, and no word or number."""
    if value[0] == "-" or "=" in value.rstrip("="):  # an option, a pair
        return False
    return _TOKENISH.fullmatch(value) is not None and _is_mixed(value) and len(set(value)) >= 10


def _is_mixed(value: str) -> bool:
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value)


def _is_hash(value: str) -> bool:
    return len(value) in (32, 40, 56, 64, 96, 128) and all(c in "0123456789abcdefABCDEF" for c in value)
