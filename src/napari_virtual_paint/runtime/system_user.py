"""The name of the person who uses this computer."""

from __future__ import annotations

import contextlib
import getpass
import os

SYSTEM = "root"  # name of the account that administers the system


def full_name() -> str:
    """Return the user's full name as the system knows it, else the name of the account.

    Empty where there is neither, and for the system's own account (root), which is no person.
    """
    with contextlib.suppress(ImportError, KeyError, OSError):
        import pwd

        account = pwd.getpwuid(os.getuid())
        # The first of the comma-separated entries; & stands for the account's name (passwd(5)).
        name = account.pw_gecos.split(",")[0].replace("&", account.pw_name.capitalize()).strip()
        return name if name not in ("", SYSTEM) else _of_person(account.pw_name)
    with contextlib.suppress(Exception):  # what it raises without an account depends on the version of Python
        return _of_person(getpass.getuser())
    return ""


def _of_person(account: str) -> str:
    return "" if account == SYSTEM else account
