"""The name of the person who uses this computer."""

from __future__ import annotations

import contextlib
import getpass
import os


def full_name() -> str:
    """Return the user's full name as the system knows it, else the name of the account; empty where there is neither."""
    with contextlib.suppress(ImportError, KeyError, OSError):
        import pwd

        account = pwd.getpwuid(os.getuid())
        # The first of the comma-separated entries; & stands for the account's name (passwd(5)).
        name = account.pw_gecos.split(",")[0].replace("&", account.pw_name.capitalize()).strip()
        return name or account.pw_name
    with contextlib.suppress(Exception):  # what it raises without an account depends on the version of Python
        return getpass.getuser()
    return ""
