#!/usr/bin/env bash
# apt-install.sh PACKAGE...: installs Debian packages as root, once more with
# fresh lists when the first try fails (a new image has none at all).
set -euo pipefail

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
	echo "missing, and only installed here on Debian as root: $*" >&2
	echo "install by hand: apt-get install --no-install-recommends $*" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$@"; }

echo "installing: $*"
log=$(install "$@" 2>&1) && exit 0
apt-get -q update >/dev/null 2>&1 || { sleep 5; apt-get -q update; }
log=$(install "$@" 2>&1) || { printf '%s\n' "$log" >&2; exit 1; }
