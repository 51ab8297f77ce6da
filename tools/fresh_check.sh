#!/usr/bin/env bash
# fresh_check.sh [MIRROR]: runs `make demo` and `make test` on a clone of this repository in a bare Debian 12; needs root
# and debootstrap. TARGETS="demo" runs that one alone. The host's apt settings, if any, are used inside.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
host_mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 2>/dev/null | awk '$2 == "bookworm" { print $1; exit }')
mirror=${1:-${host_mirror:-http://deb.debian.org/debian}}
[ "$(id -u)" = 0 ] || { echo "fresh_check.sh: needs root, for chroot" >&2; exit 1; }
command -v debootstrap >/dev/null || { echo "fresh_check.sh: needs debootstrap: apt-get install debootstrap" >&2; exit 1; }

root=$(mktemp -d)
clean_up() {
  # Never delete through a mount that is still there.
  for mount in dev/pts dev proc; do ! mountpoint -q "$root/$mount" || umount "$root/$mount"; done
  rm -rf --one-file-system "$root"
}
trap clean_up EXIT
timed() { # NAME COMMAND...
  local start=$SECONDS
  "${@:2}"
  echo "fresh_check: $1: $((SECONDS - start)) s"
}
in_root() { chroot "$root" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${proxies[@]}" "$@"; }

proxies=()
for name in http_proxy https_proxy no_proxy; do [ -z "${!name:-}" ] || proxies+=("$name=${!name}"); done
timed "bare root" debootstrap --variant=minbase bookworm "$root" "$mirror" >"$root.log" 2>&1 || {
  tail -n 5 "$root.log" >&2
  rm -f "$root.log"
  exit 1
}
rm -f "$root.log"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t devpts devpts "$root/dev/pts" -o newinstance,ptmxmode=0666  # tests talk to terminals of their own
cp /etc/resolv.conf "$root/etc/resolv.conf"
# Where the mirror needs settings of the host (a proxy, a certificate, a login), they come along.
for path in /etc/apt/apt.conf /etc/apt/apt.conf.d /etc/apt/auth.conf.d /usr/local/share/ca-certificates; do
  [ ! -e "$path" ] || { mkdir -p "$root$(dirname "$path")" && cp -rT "$path" "$root$path"; }
done

git clone -q "$repository" "$root/root/strata"
timed "make, git, ca-certificates" in_root sh -c \
  'apt-get update -qq && apt-get install -y -qq --no-install-recommends make git ca-certificates >/dev/null'
for target in ${TARGETS:-demo test}; do timed "make $target" in_root make -C /root/strata "$target"; done
