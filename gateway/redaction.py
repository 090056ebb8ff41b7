"""Texts without what nobody should keep: keys and tokens, addresses of mail, numbers of cards, and what a site adds.

Every pattern is bounded: a text of n characters is looked at in time proportional to n, whatever it holds.
"""

import re
from collections.abc import Callable, Iterable

Redact = Callable[[str], str]
_Replacement = str | Callable[[re.Match[str]], str]

_DIGITS = re.compile(r"[0-9]")

SECRETS = (
    (re.compile(r"tk_(?:([0-9A-Za-z]{12}|demo)_)?[0-9A-Za-z_-]{4,}+"), lambda m: f"tk_{m[1]}_…" if m[1] else "tk_…"),
    (re.compile(r"\b(bearer|basic)\s+[^\s\"',;]++", re.IGNORECASE), lambda m: f"{m[1]} …"),
    (re.compile(r"\bsk-[0-9A-Za-z_-]{8,}+"), lambda m: "sk-…"),
)
"""What must not stand in a log either; a key's public id stays."""

_TOKENS = (
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?",
    r"(?<![\w-])eyJ[\w-]{8,4000}+\.[\w-]{4,8000}+(?:\.[\w-]{0,2000}+)?",  # a JWT
    r"\b(?:sk|pk|rk)[_-][\w-]{8,400}+",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[a-z]-|AIza|ya29\.)[\w-]{16,400}+",
    r"""(?i)\b(?:api[_-]?key|passw(?:or)?d|secret|access[_-]?token)["']?[ \t]{0,3}[:=][ \t"']{0,4}[^\s"',;]{4,400}+""",
)


def _pass_luhn(found: re.Match[str]) -> str:
    """A number that has a card's check digit goes (ISO/IEC 7812-1); any other long number stays."""
    digits = [int(digit) for digit in _DIGITS.findall(found[0])]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "[card]" if (sum(digits[::-2]) + sum(doubled)) % 10 == 0 else found[0]


PRESETS: dict[str, tuple[tuple[re.Pattern[str], _Replacement], ...]] = {
    "keys": (*SECRETS, *[(re.compile(pattern), "[key]") for pattern in _TOKENS]),
    "emails": (
        (re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}+"), "[email]"),
    ),
    "cards": ((re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"), _pass_luhn),),
}  # fmt: skip


def compile_redaction(wanted: Iterable[str]) -> Redact:
    """What takes out everything that is `wanted`: names of presets, and regular expressions of a site's own.

    Raises re.error for one that is none.
    """
    steps: list[tuple[re.Pattern[str], _Replacement]] = []
    for name in wanted:
        steps += PRESETS[name] if name in PRESETS else ((re.compile(name), "[redacted]"),)

    def redact(text: str) -> str:
        for pattern, replacement in steps:
            text = pattern.sub(replacement, text)
        return text

    return redact
