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

# gc leaking (in the targets): keeping track of pointers would be a third of the bytes;
# the page starts the module afresh when its memory has grown (widget/save.go).
# c-shared: a library whose exports the page calls, not a program that runs and ends.
# custommalloc: leaves out malloc and free for C code, which the widget has none of.
GOFLAGS='' "$tinygo" build -target "$here/$target" -opt=z -no-debug -panic=trap \
	-buildmode=c-shared -tags custommalloc -o "$out" "$package"

command -v wasm-opt >/dev/null || exit 0

# TinyGo's runtime exports four float helpers for C code; without them, and what only
# they need, the widget is about 200 bytes (brotli) smaller. All other exports stay.
features=(--enable-bulk-memory --enable-sign-ext --enable-nontrapping-float-to-int --enable-mutable-globals)
{
	echo '[{"name":"memory","root":true,"export":"memory"}'
	wasm-dis "${features[@]}" "$out" | sed -n 's/^ (export "\([^"]*\)".*/\1/p' |
		sed '/^memory$/d; /^f\(min\|max\)imumf\{0,1\}$/d; s/.*/,{"name":"&","root":true,"export":"&"}/'
	echo ']'
} >"$out.keep"
wasm-metadce "${features[@]}" -f "$out.keep" -o "$out.kept" "$out" >/dev/null
# Stripping goes first: what it frees is then packed by -Oz. The lowest 1,024 bytes are the
# last of the stack: no address that something is added to points there.
wasm-opt "${features[@]}" --strip-debug --strip-producers --low-memory-unused -Oz -o "$out" "$out.kept"
rm "$out.keep" "$out.kept"
