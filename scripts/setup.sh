#!/usr/bin/env bash
# Sets up everything that `make demo` and `make test` need: .venv with pinned packages, and on Linux Xvfb and the libraries of Qt.
#
#   scripts/setup.sh [test|dev|aicsimageio]
#
# test: the package with all extras and what its tests need. dev: also linters and the documentation's tools.
# aicsimageio: an environment of its own, .venv-aicsimageio. A second run finds its stamp and does nothing.
# PYTHON names another interpreter. Nothing outside the repository is changed, but for packages that apt may install.
set -euo pipefail
cd "$(dirname "$0")/.."

what="${1:-test}"
venv=.venv
[ "$what" = aicsimageio ] && venv=.venv-aicsimageio

say() { printf 'set-up: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- apt, where it may be used without asking anybody --------------------------------------------------------------------------------------
apt_runner() {
    command -v apt-get > /dev/null || return 1
    if [ "$(id -u)" = 0 ]; then echo env
    elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then echo sudo -n
    else return 1; fi
}

apt_install() {
    local runner
    runner=$(apt_runner) || return 1
    say "installing by apt: $*"
    { $runner apt-get update -q && $runner env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"; } < /dev/null >&2
}

# --- Python ----------------------------------------------------------------------------------------------------------------------------------
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.11 python3.12 python3.13 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local python version
    python=$(find_python) || die "Python 3.11 or newer is needed and none is on the PATH; install it (Debian: apt install python3 python3-venv) or set PYTHON."
    if ! "$python" -c 'import ensurepip, venv' 2> /dev/null; then # Debian keeps them in a package of their own
        version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$version" && "$python" -c 'import ensurepip, venv' 2> /dev/null \
            || die "Python's module venv is missing for $python; install it (Debian: apt install $version)."
    fi
    say "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --upgrade 'pip>=25.1' # the first that knows dependency groups
}

install_packages() {
    say "installing the pinned packages into $venv; the first time takes some minutes"
    case "$what" in
        test) "$venv/bin/python" -m pip install --quiet -c constraints.txt --group test -e '.[all]' ;;
        dev) "$venv/bin/python" -m pip install --quiet -c constraints.txt --group dev -e '.[all]' ;;
        aicsimageio) "$venv/bin/python" -m pip install --quiet -c constraints-aicsimageio.txt -e '.[aicsimageio]' pytest pytest-timeout ;;
        *) die "there is no set-up $what; there are test, dev and aicsimageio." ;;
    esac
}

# --- Qt's libraries and a screen ---------------------------------------------------------------------------------------------------------------
# What PyQt6's xcb platform and napari's canvas load, and the Debian package of each.
libraries="libEGL.so.1=libegl1 libGL.so.1=libgl1 libfontconfig.so.1=libfontconfig1 libfreetype.so.6=libfreetype6 libglib-2.0.so.0=libglib2.0-0
libdbus-1.so.3=libdbus-1-3 libX11-xcb.so.1=libx11-xcb1 libxkbcommon.so.0=libxkbcommon0 libxkbcommon-x11.so.0=libxkbcommon-x11-0
libxcb-cursor.so.0=libxcb-cursor0 libxcb-icccm.so.4=libxcb-icccm4 libxcb-image.so.0=libxcb-image0 libxcb-keysyms.so.1=libxcb-keysyms1
libxcb-randr.so.0=libxcb-randr0 libxcb-render-util.so.0=libxcb-render-util0 libxcb-shape.so.0=libxcb-shape0 libxcb-xkb.so.1=libxcb-xkb1
libgssapi_krb5.so.2=libgssapi-krb5-2"

missing_packages() {
    local pair
    for pair in $libraries; do
        "$venv/bin/python" -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "${pair%%=*}" 2> /dev/null || echo "${pair#*=}"
    done
    if ! scripts/with-screen.sh --have-screen; then
        command -v Xvfb > /dev/null && command -v xvfb-run > /dev/null || echo xvfb
        command -v xauth > /dev/null || echo xauth
        if command -v fc-list > /dev/null; then [ -n "$(fc-list 2> /dev/null | head -n 1)" ] || echo fonts-dejavu-core; fi
    fi
}

make_screen() {
    [ "$(uname -s)" = Linux ] || return 0
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -n "${missing// /}" ] || return 0
    if ! scripts/with-screen.sh --have-screen; then
        # shellcheck disable=SC2086 # a list of names
        if apt_install $missing; then
            missing=$(missing_packages | tr '\n' ' ')
            [ -n "${missing// /}" ] || return 0
        fi
    fi
    die "napari needs system libraries that are not here. Install them and run this again: sudo apt install $missing"
}

# --- one run -------------------------------------------------------------------------------------------------------------------------------------
stamp="$venv/.set-up-$what"
wanted=$({ pwd -P; cat pyproject.toml constraints*.txt scripts/setup.sh; } | cksum)
if [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ]; then exit 0; fi

# A dev environment has all that the tests need, so `make test` after it has nothing to do.
if [ "$what" = test ] && [ "$(cat "$venv/.set-up-dev" 2> /dev/null)" = "$wanted" ]; then exit 0; fi

is_usable() { # it runs, has pip, and was made here: an environment's scripts hold its place
    "$venv/bin/python" -c 'import pip' 2> /dev/null && grep -qF "$(pwd -P)/$venv/bin/python" "$venv/bin/pip" 2> /dev/null
}
is_usable || make_venv
[ "$what" = aicsimageio ] || make_screen
install_packages
printf '%s\n' "$wanted" > "$stamp"
say "done; $venv is ready"
