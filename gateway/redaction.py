"""Texts without what nobody should keep: keys and tokens, addresses of mail, numbers of cards, and what a site adds.

Every pattern is bounded: a text of n characters is looked at in time proportional to n, whatever it holds.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

Redact = Callable[[str], str]


class Step(NamedTuple):
    """What is looked for and what stands in its place; only where one of `hints`, in lower case, is in the text."""

    pattern: re.Pattern[str]
    replacement: str | Callable[[re.Match[str]], str]
    hints: tuple[str, ...] = ("",)


def _name_key(found: re.Match[str]) -> str:
    return f"tk_{found[1]}_…" if found[1] else "tk_…"


SECRETS = (
    Step(re.compile(r"tk_(?:([0-9A-Za-z]{12}|demo)_)?[0-9A-Za-z_-]{4,}+"), _name_key, ("tk_",)),
    Step(re.compile(r"\b(bearer|basic)\s+[^\s\"',;]++", re.IGNORECASE), r"\1 …", ("bearer", "basic")),
    Step(re.compile(r"\bsk-[0-9A-Za-z_-]{8,}+"), "sk-…", ("sk-",)),
)
"""What must not stand in a log either; a key's public id stays."""

_PEM = r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{0,20000}+(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
_JWT = r"(?<![\w-])eyJ[\w-]{8,4000}+\.[\w-]{4,8000}+(?:\.[\w-]{0,2000}+)?"
_NAMED = (
    r"""(?i)\b(?:api[_-]?key|passw(?:or)?d|secret|access[_-]?token)["']?[ \t]{0,3}[:=]"""
    r"""[ \t"']{0,4}[^\s"',;]{4,400}+"""
)
_VENDORS = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "hf_", "aiza", "ya29.", "xox")
_TOKENS = (
    Step(re.compile(_PEM), "[key]", ("private key",)),
    Step(re.compile(_JWT), "[key]", ("eyj",)),
    Step(re.compile(r"\b(?:sk|pk|rk)[_-][\w-]{8,400}+"), "[key]", ("sk_", "pk_", "rk_", "pk-", "rk-")),
    Step(re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), "[key]", ("akia", "asia")),
    Step(re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|xox[a-z]-|AIza|ya29\.)[\w-]{16,400}+"), "[key]", _VENDORS),
    Step(re.compile(_NAMED), "[key]", ("key", "passw", "secret", "token")),
)
_EMAIL = r"(?<![\w.%+-])[\w.%+-]{1,64}+@[A-Za-z0-9-]{1,63}+(?:\.[A-Za-z0-9-]{1,63}+){1,8}"
_NUMBER = r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])"
_digits = re.compile(r"[0-9]").findall


def _pass_luhn(found: re.Match[str]) -> str:
    """A number that has a card's check digit goes (ISO/IEC 7812-1); any other long number stays."""
    digits = [int(digit) for digit in _digits(found[0])]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "[card]" if (sum(digits[::-2]) + sum(doubled)) % 10 == 0 else found[0]


PRESETS: dict[str, tuple[Step, ...]] = {
    "keys": SECRETS + _TOKENS,
    "emails": (Step(re.compile(_EMAIL), "[email]", ("@",)),),
    "cards": (Step(re.compile(_NUMBER), _pass_luhn),),
}


def take_out(steps: Iterable[Step], text: str) -> str:
    """`text` without what the `steps` look for, one after the other."""
    plain = text.lower()
    for pattern, replacement, hints in steps:
        if any(hint in plain for hint in hints):
            text = pattern.sub(replacement, text)
    return text


def compile_redaction(wanted: Iterable[str]) -> Redact:
    """What takes out everything that is `wanted`: names of presets, and regular expressions of a site's own.

    Raises re.error for one that is none.
    """
    steps: list[Step] = []
    for name in wanted:
        steps += PRESETS[name] if name in PRESETS else (Step(re.compile(name), "[redacted]"),)
    return lambda text: take_out(steps, text)
