"""The name of the user, from the system's accounts."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from napari_virtual_paint.runtime.system_user import full_name

pwd = pytest.importorskip("pwd")


@pytest.mark.parametrize(
    ("gecos", "name"),
    [("Ada Lovelace,Room 1,555", "Ada Lovelace"), ("", "ada"), (",,,", "ada"), ("& Lovelace", "Ada Lovelace")],
)
def test_the_full_name_goes_before_that_of_the_account(monkeypatch: pytest.MonkeyPatch, gecos: str, name: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_gecos=gecos, pw_name="ada") if uid == os.getuid() else None)
    assert full_name() == name


def test_a_container_without_an_account_names_the_login_or_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    assert full_name() == ""
    monkeypatch.setenv("USER", "ada")
    assert full_name() == "ada"
    monkeypatch.setenv("USER", "root")
    assert full_name() == ""


@pytest.mark.parametrize(("gecos", "name"), [("root", ""), ("", ""), ("Ada Lovelace", "Ada Lovelace")])
def test_the_systems_account_is_no_author(monkeypatch: pytest.MonkeyPatch, gecos: str, name: str) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_gecos=gecos, pw_name="root"))
    assert full_name() == name
