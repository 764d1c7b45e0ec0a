package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/andybalholm/brotli"
)

// bundle is Adyen Drop-in as a shop would build it for just the methods it has.
type bundle struct {
	version string
	files   map[string][]byte // "adyen.js", "adyen.css"
	brotli  int               // bytes of both
	all     int               // the same with every method that the package has
}

// adyen installs the pinned package from npm into the cache, once, and bundles it.
func (b *bench) adyen(ctx context.Context) (bundle, error) {
	if !have("npm") || !have("node") {
		return bundle{}, errors.New("node and npm are not installed, so Adyen Drop-in can not be built here")
	}
	const source = "bench/peers/adyen"
	manifest, err := os.ReadFile(source + "/package.json")
	if err != nil {
		return bundle{}, err
	}
	var pinned struct{ Dependencies map[string]string }
	if err := json.Unmarshal(manifest, &pinned); err != nil {
		return bundle{}, err
	}
	version := pinned.Dependencies["@adyen/adyen-web"]
	dir := filepath.Join(b.cache, "adyen-"+version+"-"+pinned.Dependencies["esbuild"])
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return bundle{}, err
	}
	for _, name := range []string{"package.json", "entry.js", "all.js"} {
		text, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return bundle{}, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil { //nolint:gosec // the three names above
			return bundle{}, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "@adyen", "adyen-web")); err != nil {
		if err := in(ctx, dir, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return bundle{}, err
		}
	}
	for from, to := range map[string]string{"entry.js": "adyen", "all.js": "all"} {
		if err := in(ctx, dir, "node_modules/.bin/esbuild", from, "--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=error", "--outfile=out/"+to+".js"); err != nil {
			return bundle{}, err
		}
	}
	out := bundle{version: "@adyen/adyen-web " + version + " bundled by esbuild", files: map[string][]byte{}}
	for _, name := range []string{"adyen.js", "adyen.css", "all.js", "all.css"} {
		text, err := os.ReadFile(filepath.Join(dir, "out", name))
		if err != nil {
			return bundle{}, err
		}
		if strings.HasPrefix(name, "all") {
			out.all += len(packed(text))
			continue
		}
		out.files[name] = text
		out.brotli += len(packed(text))
	}
	return out, nil
}

func in(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // npm and the esbuild it installed
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.300s", filepath.Base(name), err, text)
	}
	return nil
}

func packed(text []byte) []byte {
	var out bytes.Buffer
	w := brotli.NewWriterLevel(&out, brotli.BestCompression)
	_, _ = w.Write(text) // to memory
	_ = w.Close()
	return out.Bytes()
}
