#!/bin/sh
# install.sh FILE [SHA256-FILE]: install a downloaded one-file edged to /usr/local/bin after checking its checksum.
set -eu
file=${1:?usage: install.sh edged-VERSION-ARCH [edged-VERSION-ARCH.sha256]}
sums=${2:-$file.sha256}
[ "$(id -u)" = 0 ] || { echo "install.sh: run it as root (sudo sh install.sh $file)" >&2; exit 1; }
[ -f "$sums" ] || { echo "install.sh: no checksum file $sums; download it beside $file" >&2; exit 1; }
want=$(awk -v name="$(basename "$file")" '$2 == name || $2 == "*" name {print $1}' "$sums")
[ -n "$want" ] || { echo "install.sh: $sums says nothing of $(basename "$file")" >&2; exit 1; }
have=$(sha256sum "$file" | cut -d' ' -f1)
[ "$want" = "$have" ] || { echo "install.sh: $file is not what was released (sha256 $have, expected $want); download it again" >&2; exit 1; }
machine=$(uname -m)
# a 32-bit system on a 64-bit kernel, as Raspberry Pi OS has it
[ "$machine-$(getconf LONG_BIT)" != aarch64-32 ] || machine=armv7l
case $file in *-"$machine") ;; *) echo "install.sh: $file is not for this machine ($machine)" >&2; exit 1 ;; esac
install -m 0755 "$file" /usr/local/bin/edged
echo "installed /usr/local/bin/edged: $(/usr/local/bin/edged --version)"
