package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/andybalholm/brotli"

	"wzrdcheckout/public"
)

// publish writes the assets and the manifest into a new folder and puts it in the
// place of the old one, so that no run leaves a mixture of two builds.
func publish(c config, inputs map[string]string, assets []*asset) (public.Manifest, error) {
	m := public.Manifest{Compiler: c.compiler, Inputs: inputs, Page: page(assets)}
	home := filepath.Join(c.root, "public")
	if err := os.MkdirAll(filepath.Join(home, filepath.Dir(public.Dir)), 0o755); err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	fresh, err := os.MkdirTemp(home, ".v1-")
	if err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(fresh)
	if err := os.Chmod(fresh, 0o755); err != nil {
		return m, fmt.Errorf("make folder: %w", err)
	}
	for _, a := range assets {
		gz, br, err := compress(a.content)
		if err != nil {
			return m, fmt.Errorf("compress %s: %w", a.logical, err)
		}
		for suffix, data := range map[string][]byte{"": a.content, ".gz": gz, ".br": br} {
			if err := os.WriteFile(filepath.Join(fresh, a.name+suffix), data, 0o644); err != nil {
				return m, fmt.Errorf("write asset: %w", err)
			}
		}
		m.Files = append(m.Files, public.File{
			Name: a.name, Logical: a.logical, ContentType: a.kind.contentType, Integrity: a.integrity,
			Bytes: len(a.content), Gzip: len(gz), Brotli: len(br), Immutable: a.name != a.logical,
		})
		if slices.Contains(m.Page, a.logical) {
			m.PageBrotli += len(br)
		}
	}
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return m, fmt.Errorf("encode manifest: %w", err)
	}
	if err := os.WriteFile(filepath.Join(fresh, filepath.Base(public.ManifestPath)), append(data, '\n'), 0o644); err != nil {
		return m, fmt.Errorf("write manifest: %w", err)
	}
	final := filepath.Join(home, public.Dir)
	if err := os.RemoveAll(final); err != nil {
		return m, fmt.Errorf("remove old build: %w", err)
	}
	if err := os.Rename(fresh, final); err != nil {
		return m, fmt.Errorf("place new build: %w", err)
	}
	return m, nil
}

func compress(content []byte) (gz, br []byte, err error) {
	var zipped, brotlied bytes.Buffer
	zw, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, nil, err
	}
	bw := brotli.NewWriterLevel(&brotlied, brotli.BestCompression)
	for _, w := range []io.WriteCloser{zw, bw} {
		if _, err := w.Write(content); err != nil {
			return nil, nil, err
		}
		if err := w.Close(); err != nil {
			return nil, nil, err
		}
	}
	return zipped.Bytes(), brotlied.Bytes(), nil
}

// report prints every file with its sizes, then the compiler's and the page's bytes.
func report(out io.Writer, m public.Manifest) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "raw\tgzip\tbrotli\t  file")
	for _, f := range m.Files {
		fmt.Fprintf(w, "%d\t%d\t%d\t  %s\n", f.Bytes, f.Gzip, f.Brotli, f.Name)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print sizes: %w", err)
	}
	wasm, _ := m.File(wasmName)
	_, err := fmt.Fprintf(out, "wasm: compiled by %s, %s bytes raw, %s gzip, %s brotli\npage: %s bytes brotli = %s\n",
		m.Compiler, grouped(wasm.Bytes), grouped(wasm.Gzip), grouped(wasm.Brotli),
		grouped(m.PageBrotli), strings.Join(m.Page, " + "))
	return err
}

// grouped writes 35000 as 35,000.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// overBudget holds TinyGo builds to the budget; standard Go's are larger by a factor
// of ten and only a fallback.
func overBudget(c config, m public.Manifest) error {
	if c.budget == 0 || !strings.HasPrefix(m.Compiler, "tinygo") || m.PageBrotli <= c.budget {
		return nil
	}
	return fmt.Errorf("a page loads %s bytes (brotli), the budget is %s", grouped(m.PageBrotli), grouped(c.budget))
}
