package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/andybalholm/brotli"

	"wzrdcheckout/public"
)

// input is a file or folder whose content decides what is published.
type input struct {
	path     string
	compiled bool // decides the bytes of the wasm
}

var inputs = []input{
	{"go.mod", true},
	{"internal/checkout", true},
	{"internal/fields", true},
	{"tools/tinygo", true},
	{"wasm", true},
	{"widget", true},
	{"widget/js", false},
	{"cmd/assets", false},
}

// walk calls f with each file below the input that counts: not tests, their data,
// hidden files, nor what another input covers. A missing input has no files.
func (in input) walk(root fs.FS, f func(name string) error) error {
	err := fs.WalkDir(root, in.path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() {
			another := name != in.path && slices.ContainsFunc(inputs, func(o input) bool { return o.path == name })
			if another || base == "testdata" || strings.HasPrefix(base, ".") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(base, ".") || strings.HasSuffix(base, "_test.go") {
			return nil
		}
		return f(name)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// hashInputs returns a sha256 in hex for each input: over name, length and content
// of its files in the order of their names.
func hashInputs(root string) (map[string]string, error) {
	tree := os.DirFS(root)
	hashes := map[string]string{}
	for _, in := range inputs {
		h := sha256.New()
		err := in.walk(tree, func(name string) error {
			data, err := fs.ReadFile(tree, name)
			if err != nil {
				return err
			}
			h.Write(fmt.Appendf(nil, "%s\x00%d\x00", name, len(data)))
			h.Write(data)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("hash inputs: %w", err)
		}
		hashes[in.path] = hex.EncodeToString(h.Sum(nil))
	}
	return hashes, nil
}

// refuseOlder returns an error when a source was written after the wasm: the
// manifest would vouch for a module that was made from something else.
func refuseOlder(root, wasm string) error {
	info, err := os.Stat(wasm)
	if err != nil {
		return fmt.Errorf("find wasm: %w", err)
	}
	made := info.ModTime()
	tree := os.DirFS(root)
	for _, in := range inputs {
		if !in.compiled {
			continue
		}
		err := in.walk(tree, func(name string) error {
			info, err := fs.Stat(tree, name)
			if err != nil {
				return err
			}
			if info.ModTime().After(made) {
				return fmt.Errorf("%s (%s) is newer than the wasm (%s): compile again",
					name, info.ModTime().Format(time.TimeOnly), made.Format(time.TimeOnly))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("compare times: %w", err)
		}
	}
	return nil
}

// check compares what is published with the sources and with its own manifest. The
// error names everything that does not fit.
func check(c config, out io.Writer) error {
	tree := os.DirFS(path.Join(c.root, "public"))
	m, err := public.Read(tree)
	if err != nil {
		return err
	}
	now, err := hashInputs(c.root)
	if err != nil {
		return err
	}
	var problems []error
	for _, in := range inputs {
		if m.Inputs[in.path] == now[in.path] {
			continue
		}
		what := "the published files"
		if in.compiled {
			what = "the wasm"
		}
		problems = append(problems, fmt.Errorf("stale: %s changed after %s were made from it", in.path, what))
	}
	for name := range maps.Keys(m.Inputs) {
		if _, known := now[name]; !known {
			problems = append(problems, fmt.Errorf("stale: %s is no input any more", name))
		}
	}
	for _, f := range m.Files {
		if err := checkFile(tree, f); err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return errors.Join(append(problems, errors.New("run ./build.sh"))...)
	}
	if err := overBudget(c, m); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "assets: up to date, compiled by %s, a page loads %s bytes (brotli)\n", m.Compiler, grouped(m.PageBrotli))
	return err
}

// checkFile returns an error when a published file or one of its compressed forms is
// not what the manifest says.
func checkFile(tree fs.FS, f public.File) error {
	name := public.Dir + "/" + f.Name
	content, err := fs.ReadFile(tree, name)
	if err != nil {
		return fmt.Errorf("read published file: %w", err)
	}
	sum := sha512.Sum384(content)
	if got := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); got != f.Integrity {
		return fmt.Errorf("stale: public/%s is not the file of the manifest", name)
	}
	for suffix, open := range map[string]func(io.Reader) (io.Reader, error){
		".br": func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
		".gz": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	} {
		packed, err := fs.ReadFile(tree, name+suffix)
		if err != nil {
			return fmt.Errorf("read published file: %w", err)
		}
		r, err := open(bytes.NewReader(packed))
		if err != nil {
			return fmt.Errorf("unpack public/%s%s: %w", name, suffix, err)
		}
		unpacked, err := io.ReadAll(r)
		if err != nil {
			return fmt.Errorf("unpack public/%s%s: %w", name, suffix, err)
		}
		if !bytes.Equal(unpacked, content) {
			return fmt.Errorf("stale: public/%s%s holds something else than public/%s", name, suffix, name)
		}
	}
	return nil
}
