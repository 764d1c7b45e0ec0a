#!/usr/bin/env bash
# Tries what a release rests on: bff compiles for every target of .goreleaser.yaml, two
# builds from different folders are the same bytes, and deploy/ and .goreleaser.yaml are
# what the programs that read them take. Wants ./build.sh to have run.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CGO_ENABLED=0

[ -e public/widget/v1/manifest.json ] || { echo "run ./build.sh first" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # folder, output
	(cd "$1" && go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=v0 -X main.commit=0" -o "$2" ./cmd/bff)
}

for target in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do
	GOOS=${target%/*} GOARCH=${target#*/} build . "$work/bff"
	printf '%-14s %9d bytes\n' "$target" "$(wc -c <"$work/bff")"
done

# The same sources elsewhere: committed or not, with the browser's files, without .git.
mkdir "$work/elsewhere"
tar -cf - --exclude=./.git --exclude=./bin --exclude=node_modules . | tar -xf - -C "$work/elsewhere"
build . "$work/one"
build "$work/elsewhere" "$work/two"
cmp "$work/one" "$work/two"
echo "reproducible   $(sha256sum <"$work/one" | cut -c 1-64)"

(cd tools/packaging && GOFLAGS='' go test -count=1 ./...)
(cd tools/release && GOFLAGS='' go test -count=1 ./...)
