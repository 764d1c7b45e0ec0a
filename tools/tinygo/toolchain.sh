#!/usr/bin/env bash
# toolchain.sh DEST: puts the pinned TinyGo together in DEST, from Debian
# packages (LLVM 19, lld, binaryen) and Go modules, so that no archive has to be
# downloaded from anywhere else. About 1 GB of packages and a minute of compiling.
#
#   DEST/bin/tinygo   the compiler; go.mod and go.sum beside this script pin it
#   DEST/root         its TINYGOROOT, with what widget.json refers to
set -euo pipefail

dest=${1:?usage: toolchain.sh DEST}
mkdir -p "$dest"
dest=$(cd "$dest" && pwd)
cd "$(dirname "$0")"

packages=(g++ llvm-19-dev libclang-19-dev clang-19 lld-19 libclang-rt-19-dev-wasm32 binaryen)
builtins=/usr/lib/llvm-19/lib/clang/19/lib/wasi/libclang_rt.builtins-wasm32.a

complete() {
	command -v g++ && command -v clang-19 && command -v wasm-ld-19 && command -v wasm-opt &&
		[ -e "$builtins" ] && [ -e /usr/lib/llvm-19/include/llvm-c/Core.h ] && [ -e /usr/lib/llvm-19/include/clang-c/Index.h ]
} >/dev/null

if ! complete; then
	../apt-install.sh "${packages[@]}"
	complete || { echo "toolchain: still incomplete after installing: ${packages[*]}" >&2; exit 1; }
fi

echo "toolchain: compiling TinyGo from source (about a minute on two cores)"
mkdir -p "$dest/bin"
CGO_ENABLED=1 GOFLAGS='' go build -trimpath -buildvcs=false -tags llvm19 -o "$dest/bin/" github.com/tinygo-org/tinygo

module=$(GOFLAGS='' go list -m -f '{{.Dir}}' github.com/tinygo-org/tinygo)
rm -rf "$dest/root"
mkdir "$dest/root"
cp -R "$module/src" "$module/targets" "$module/lib" "$dest/root/"
chmod -R u+w "$dest/root"
# A git submodule upstream, so the module does not carry it; the compiler wants the folder.
mkdir -p "$dest/root/src/net"
cp "$builtins" "$dest/root/lib/builtins-wasm32.a"

TINYGOROOT=$dest/root "$dest/bin/tinygo" version
# Written last: a toolchain that was interrupted half way is not used.
: >"$dest/complete"
