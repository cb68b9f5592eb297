#!/usr/bin/env bash
# Runs a command with a screen: the one that is there, else a virtual one (Xvfb).
#
#   scripts/with-screen.sh COMMAND...
#   scripts/with-screen.sh --have-screen     exit code 0 if there is a screen
set -euo pipefail

have_screen() {
    [ "$(uname -s)" = Linux ] || return 0
    [ -z "${WAYLAND_DISPLAY:-}" ] || return 0
    [ -n "${DISPLAY:-}" ] || return 1
    local number="${DISPLAY#*:}"
    case "$DISPLAY" in
        # A local display has a socket; a DISPLAY left over from a server that has gone has none.
        :* | unix:*) [ -S "/tmp/.X11-unix/X${number%%.*}" ] ;;
        *) return 0 ;;
    esac
}

if [ "${1:-}" = --have-screen ]; then
    have_screen
elif have_screen; then
    exec "$@"
else
    unset DISPLAY
    # Qt's platform "offscreen" can't draw napari's layers, and the only OpenGL of Xvfb is Mesa's software renderer.
    export QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1
    # Nobody sees the virtual screen, so the demo writes its picture and ends.
    export VIRTUAL_PAINT_DEMO=headless
    exec xvfb-run -a -s "-screen 0 1600x1000x24 -dpi 96 -nolisten tcp" "$@"
fi
