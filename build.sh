#!/usr/bin/env bash
# build.sh [build]    wasm → public/widget/v1 → bin/bff; needs Go, takes TinyGo where it finds it
# build.sh demo       build, then BFF + sandbox + demo shop on http://localhost:8080
# build.sh test       build, then every test, the browser's included
# build.sh check      what CI runs: format, vet, lint, tidy, test, budget, clean tree
# build.sh bench      build, then the measurements
# build.sh soak       build, then hours of kills, power cuts and full disks (soak -h)
# build.sh toolchain  puts the pinned TinyGo into the cache (Debian, as root)
# build.sh fmt        formats the Go sources
#
# TINYGO=required     a build without TinyGo is an error; TINYGO=off: always standard Go
# TINYGO_DIR          where the pinned TinyGo lies; CHECKOUT_CACHE: where all tools lie
# CHECKOUT_CHROMIUM   the browser for the tests
set -euo pipefail
cd "$(dirname "$0")"

readonly tinygo_version=0.41.1
# Brotli bytes of everything a page loads; 29,999 measured on 2026-11-23.
readonly page_budget=30000
# Bytes of bin/bff with TinyGo's widget in it, 25 MiB; 23,543,970 measured on 2026-11-23.
readonly binary_budget=$((25 << 20))

cache=${CHECKOUT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/wzrdcheckout}
tinygo_dir=${TINYGO_DIR:-$cache/tinygo-$tinygo_version}

# Where the clone comes from must not decide what comes out; -X stamps the version.
export GOFLAGS="${GOFLAGS:+$GOFLAGS }-buildvcs=false"

say() { printf '== %s\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# ---- build

# Prints the path of a TinyGo that fits, or nothing. The pinned one goes first: the
# budget was measured with it. Another minor version may speak another wasm_exec.js.
find_tinygo() {
	if [ -e "$tinygo_dir/complete" ]; then
		echo "$tinygo_dir/bin/tinygo"
	elif command -v tinygo >/dev/null; then
		case $(tinygo version) in
		"tinygo version ${tinygo_version%.*}."*) command -v tinygo ;;
		*) echo "build.sh: the tinygo on the PATH is not ${tinygo_version%.*}.x" >&2 ;;
		esac
	fi
}

# Compiles wasm/ into bin/widget.wasm and sets compiler and wasm_exec to what made it.
build_wasm() {
	local tinygo=''
	case ${TINYGO:-auto} in
	off) ;;
	auto | required) tinygo=$(find_tinygo) ;;
	*) die "TINYGO=$TINYGO: want required or off" ;;
	esac
	mkdir -p bin
	: >bin/started

	if [ -n "$tinygo" ] && compile_tinygo "$tinygo"; then
		compiler="tinygo $("$tinygo" version | cut -d' ' -f3)"
	elif [ "${TINYGO:-auto}" = required ]; then
		die "TINYGO=required, and there is no TinyGo $tinygo_version that works: ./build.sh toolchain"
	else
		say "compiling wasm/ with standard Go (TinyGo's is about 20 times smaller: ./build.sh toolchain)"
		GOOS=js GOARCH=wasm CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/widget.new.wasm ./wasm
		wasm_exec=$(go env GOROOT)/lib/wasm/wasm_exec.js
		compiler=$(go env GOVERSION)
	fi
	# As old as the moment before the compiler read its first source, so that
	# cmd/assets notices a source that changed under its hands.
	touch -r bin/started bin/widget.new.wasm
	mv bin/widget.new.wasm bin/widget.wasm
	rm bin/started
}

# Fails softly for a TinyGo that we did not build, never for the pinned one.
compile_tinygo() {
	say "compiling wasm/ with $1"
	if [ -e "$tinygo_dir/complete" ]; then
		tools/tinygo/compile.sh "$1" ./wasm bin/widget.new.wasm || die "TinyGo could not compile wasm/"
		wasm_exec=$tinygo_dir/root/targets/wasm_exec.js
	elif tools/tinygo/compile.sh "$1" ./wasm bin/widget.new.wasm; then
		wasm_exec=$("$1" env TINYGOROOT)/targets/wasm_exec.js
	else
		say "the TinyGo on the PATH could not compile wasm/ (see above)"
		return 1
	fi
	# Our own runtime without what the widget never calls.
	if [ -e widget/js/wasm_exec_tinygo.js ]; then
		wasm_exec=widget/js/wasm_exec_tinygo.js
	fi
}

build() {
	local version=dev commit=''
	if command -v git >/dev/null; then
		version=$(git describe --tags --always --dirty 2>/dev/null || echo dev)
		commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
	fi
	build_wasm
	go run ./cmd/assets -wasm bin/widget.wasm -wasm-exec "$wasm_exec" -compiler "$compiler"
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$version -X main.commit=$commit" -o bin/bff ./cmd/bff
	say "bin/bff $version: $(($(wc -c <bin/bff))) bytes"
}

# ---- test and check

find_chromium() {
	local name
	for name in "${CHECKOUT_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable chrome; do
		if [ -n "$name" ] && command -v "$name"; then
			return
		fi
	done
	return 1
}

need_chromium() {
	if ! find_chromium >/dev/null; then
		say "the browser tests need Chromium"
		tools/apt-install.sh chromium fonts-liberation fonts-dejavu-core ||
			die "no Chromium: install it, or set CHECKOUT_CHROMIUM to a Chrome or Chromium"
	fi
	CHECKOUT_CHROMIUM=$(find_chromium) || die "no Chromium on the PATH after installing it"
	export CHECKOUT_CHROMIUM
	# Without this the browser tests skip where there is no browser.
	export CHECKOUT_BROWSER=required
}

# Power cuts need to know what was synced.
need_strace() {
	command -v strace >/dev/null || tools/apt-install.sh strace || say "no strace: power is not cut"
}

run_tests() {
	local cgo=0 race='' how='without the race detector: no C compiler'
	[ -e e2e/go.mod ] || die "e2e/ is missing"
	need_chromium
	need_strace
	build
	if command -v "$(go env CC)" >/dev/null; then
		cgo=1 race=-race how='with the race detector'
	fi
	say "go vet"
	go vet ./...
	GOOS=js GOARCH=wasm go vet ./wasm
	(cd e2e && go vet ./...)
	(cd examples/shop-go && go vet ./...)
	say "go test, $how"
	CGO_ENABLED=$cgo go test $race ./...
	say "go test in e2e, with $CHECKOUT_CHROMIUM"
	browser_tests
	say "all tests passed: units $how, the widget as compiled by $compiler in $("$CHECKOUT_CHROMIUM" --version 2>/dev/null)"
}

# A browser on a loaded machine misses a moment now and then: what failed runs once more,
# alone, and is named if it held then. Twice is a failure; so is a crash or a time-out.
browser_tests() {
	local out=bin/e2e.out failed
	if (cd e2e && go test -count=1 -timeout 20m ./... 2>&1) | tee "$out"; then
		return
	fi
	failed=$(sed -n 's/^--- FAIL: \(Test[A-Za-z0-9_]*\) .*/\1/p' "$out" | sort -u | paste -sd'|' -)
	if [ -z "$failed" ] || grep -qE '^(panic:|fatal error:|FAIL.*\[build failed\])' "$out"; then
		die "the tests in e2e failed"
	fi
	say "once more, alone: $failed"
	(cd e2e && go test -count=1 -timeout 20m -parallel 1 -run "^($failed)\$" ./...)
	say "FLAKY: failed at first, held alone: $failed"
}

# Builds one of the tools pinned in tools/lint into the cache; prints its path.
lint_tool() { # name module package
	local version path
	version=$(cd tools/lint && GOFLAGS='' go list -m -f '{{.Version}}' "$2")
	path=$cache/$1-$version
	if [ ! -x "$path" ]; then
		say "building $1 $version" >&2
		mkdir -p "$cache"
		(cd tools/lint && CGO_ENABLED=0 go build -trimpath -o "$path.new" "$3")
		mv "$path.new" "$path"
	fi
	echo "$path"
}

gofumpt() { lint_tool gofumpt mvdan.cc/gofumpt mvdan.cc/gofumpt; }
golangci() { lint_tool golangci-lint github.com/golangci/golangci-lint/v2 github.com/golangci/golangci-lint/v2/cmd/golangci-lint; }

# Holds deploy/ to the programs that read it. Those are large: where they can not be
# fetched and built in half a minute that is said, not failed; what was built is kept.
packaging() {
	local status=0
	say "deploy/, by Compose's reader, Kubernetes' types, kube-score and systemd"
	command -v timeout >/dev/null || { say "NOT TRIED: there is no timeout on this machine"; return; }
	GOFLAGS='' timeout 35 bash -c 'cd tools/packaging && { go list -deps -test ./... tool >/dev/null 2>&1 || exit 9; } &&
		go test -run "^$" ./... >/dev/null && go build -o /dev/null tool' || status=$?
	case $status in
	0) (cd tools/packaging && GOFLAGS='' go test -count=1 ./...) ;;
	9 | 124) say "NOT TRIED: tools/packaging can not be fetched or built in time; tools/packaging/check.sh waits for it" ;;
	*) die "tools/packaging can not be built" ;;
	esac
}

check() {
	local tool unformatted
	command -v git >/dev/null || die "check needs git: it ends with git diff --exit-code"

	say "format"
	tool=$(gofumpt)
	unformatted=$("$tool" -l .)
	[ -z "$unformatted" ] || die "not formatted, run ./build.sh fmt: $unformatted"

	say "tidy"
	go mod tidy -diff
	(cd e2e && go mod tidy -diff)
	(cd examples/shop-go && go mod tidy -diff)

	say "lint"
	tool=$(golangci)
	"$tool" run ./...
	GOOS=js GOARCH=wasm "$tool" run ./wasm/...
	(cd e2e && "$tool" run ./...)
	(cd examples/shop-go && "$tool" run ./...)
	packaging

	if [ "${TINYGO:-auto}" = required ] && [ -z "$(find_tinygo)" ]; then
		toolchain
	fi
	run_tests
	go run ./cmd/assets -check -budget "$page_budget"
	binary_in_budget
	git diff --exit-code
	say "check passed in $SECONDS s"
}

# ---- the rest

# Standard Go's widget is megabytes larger, and the fallback.
binary_in_budget() {
	local size
	size=$(($(wc -c <bin/bff)))
	case $compiler in
	tinygo*) [ "$size" -le "$binary_budget" ] || die "bin/bff has $size bytes, the budget is $binary_budget: docs/decisions/0008-binary-size.md" ;;
	esac
}

toolchain() {
	tools/tinygo/toolchain.sh "$tinygo_dir"
	say "TinyGo $tinygo_version is in $tinygo_dir"
}

soak() {
	need_strace
	build
	exec go run ./soak "$@"
}

bench() {
	[ -d bench ] || die "bench/ is missing"
	build
	exec go run ./bench "$@"
}

command=${1:-build}
shift $(($# > 0))
case $command in
build) build ;;
demo)
	build
	exec bin/bff demo "$@"
	;;
test) run_tests ;;
check) check ;;
bench) bench "$@" ;;
soak) soak "$@" ;;
toolchain) toolchain ;;
fmt)
	tool=$(gofumpt)
	"$tool" -l -w .
	;;
*)
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0" | sed '/^set /d' >&2
	exit 2
	;;
esac
