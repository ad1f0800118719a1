#!/bin/sh
# edged, one file: unpacks itself once per version into this user's state directory, then becomes the unpacked program (same process).
set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin${PATH:+:$PATH}
version='@VERSION@' hash='@HASH@' lines='@LINES@' arch='@ARCH@'
state=${STATE_DIRECTORY:-}
state=${state%%:*}
[ -n "$state" ] || state=${XDG_STATE_HOME:+$XDG_STATE_HOME/edged}
[ -n "$state" ] || state=${HOME:+$HOME/.local/state/edged}
[ -n "$state" ] || state=/var/tmp/edged-$(id -u)
base=${EDGED_PROGRAM_DIR:-$state/program}
here=$base/$version-$hash
name=${0##*/}
[ "$name" = daprd ] || name=edged
if [ ! -f "$here/.complete" ]; then
    umask 077
    uid=$(id -u)
    mkdir -p "$base" 2>/dev/null || { echo "edged: cannot create $base to unpack the program; set EDGED_PROGRAM_DIR to a writable folder" >&2; exit 1; }
    owner=$(stat -c %u "$base") || owner=
    [ "$owner" = "$uid" ] || { echo "edged: $base belongs to uid $owner, not to $uid; set EDGED_PROGRAM_DIR to a folder of your own" >&2; exit 1; }
    work=$(mktemp -d "$base/.unpack.XXXXXX") || exit 1
    trap 'rm -rf "$work"' EXIT
    trap 'exit 0' INT TERM
    tail -n "+$lines" "$0" > "$work/payload" || { echo "edged: no space to unpack in $base; free some or set EDGED_PROGRAM_DIR" >&2; exit 1; }
    found=$(sha256sum < "$work/payload"); found=${found%% *}
    case $found in "$hash"*) ;; *) echo "edged: this file is damaged (sha256 $found); download it again" >&2; exit 1 ;; esac
    gzip -dc < "$work/payload" | tar -xf - -C "$work" || { echo "edged: no space to unpack in $base; free some or set EDGED_PROGRAM_DIR" >&2; exit 1; }
    said=$("$work/edged/edged" version 2>&1) || {
        echo "edged: the program does not run from $base: $said" >&2
        [ "$(uname -m)" = "$arch" ] || echo "edged: this file is for $arch, this machine is $(uname -m); download the one for it" >&2
        [ "$(uname -m)" != "$arch" ] || echo "edged: if that folder is mounted noexec, set EDGED_PROGRAM_DIR to another" >&2
        exit 1
    }
    ln -f "$work/edged/edged" "$work/edged/daprd"
    : > "$work/edged/.complete"
    sync "$work/edged/.complete" 2>/dev/null || :
    mv -T "$work/edged" "$here" 2>/dev/null || [ -f "$here/.complete" ] || { rm -rf "$here" && mv -T "$work/edged" "$here"; }
    rm -rf "$work"
    trap - EXIT INT TERM
    # older versions are not needed any more; one that still runs keeps its open files
    for old in "$base"/*-*; do [ "$old" = "$here" ] || rm -rf "$old"; done
fi
exec "$here/$name" "$@"
exit 1
