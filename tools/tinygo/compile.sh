#!/usr/bin/env bash
# compile.sh TINYGO PACKAGE OUT.wasm: compiles the widget with TinyGo, for size.
# A TinyGo that toolchain.sh built has its root beside it and uses widget.json;
# one installed in another way brings its own C library and uses installed.json.
set -euo pipefail

tinygo=$1 package=$2 out=$3
here=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$(dirname "$tinygo")/.." && pwd)

target=installed.json
if [ -e "$home/complete" ]; then
	target=widget.json
	export TINYGOROOT=$home/root
	cmp -s "$here/widget.c" "$TINYGOROOT/targets/widget.c" || cp "$here/widget.c" "$TINYGOROOT/targets/widget.c"
fi

# c-shared: a library whose exports the page calls, not a program that runs and ends.
# custommalloc: leaves out malloc and free for C code, which the widget has none of.
GOFLAGS='' "$tinygo" build -target "$here/$target" -opt=z -no-debug -panic=trap \
	-buildmode=c-shared -tags custommalloc -o "$out" "$package"

# TinyGo runs wasm-opt once; a second time after stripping still saves a little.
if command -v wasm-opt >/dev/null; then
	wasm-opt -Oz --enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int \
		--enable-mutable-globals --strip-debug --strip-producers -o "$out.opt" "$out"
	mv "$out.opt" "$out"
fi
