"""What to type where an optional package is missing.

Law: text, and nothing else; an extra's C headers are named here once.
"""

_KERBEROS = ("gcc python3-dev libkrb5-dev", "gcc python3-devel krb5-devel", "; brew install krb5")
_COMPILED = {  # for want of wheels: Debian's packages, Fedora's, and what Homebrew has
    "kerberos": _KERBEROS,
    "ldap": (
        f"{_KERBEROS[0]} libldap2-dev libsasl2-dev libsasl2-modules-gssapi-mit",
        f"{_KERBEROS[1]} openldap-devel cyrus-sasl-devel cyrus-sasl-gssapi",
        "",
    ),
}


def to_install(extra: str) -> str:
    """The lines to type for ``negotiate-mw[extra]``, what has to be there for the compiler first."""
    pip = f"pip install 'negotiate-mw[{extra}]'"
    if extra not in _COMPILED:
        return pip
    debian, fedora, homebrew = _COMPILED[extra]
    return f"apt-get install {debian} (dnf install {fedora}{homebrew}), then {pip}"
