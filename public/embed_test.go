package public_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"wzrdcheckout/public"
)

const manifest = `{"compiler":"tinygo 0.41.1","inputs":{"widget":"ab"},"page":["checkout.js"],"page_brotli":3,
"files":[{"name":"checkout.js","logical":"checkout.js","content_type":"text/javascript; charset=utf-8","bytes":9,"gzip":8,"brotli":3},
{"name":"widget.0011.wasm","logical":"widget.wasm","content_type":"application/wasm","immutable":true}]}`

// tree is a built folder; each name in without is left out.
func tree(without ...string) fstest.MapFS {
	t := fstest.MapFS{public.ManifestPath: {Data: []byte(manifest)}}
	for _, name := range []string{"checkout.js", "widget.0011.wasm"} {
		for _, suffix := range []string{"", ".br", ".gz"} {
			t[public.Dir+"/"+name+suffix] = &fstest.MapFile{}
		}
	}
	for _, name := range without {
		delete(t, name)
	}
	return t
}

func TestRead(t *testing.T) {
	t.Parallel()
	m, err := public.Read(tree())
	if err != nil {
		t.Fatalf("Read() error = %v", err)
	}
	if f, ok := m.File("widget.wasm"); !ok || f.Name != "widget.0011.wasm" || !f.Immutable {
		t.Errorf("File(widget.wasm) = %+v, %v, want the hashed immutable file", f, ok)
	}
	if f, ok := m.Named("widget.0011.wasm"); !ok || f.Logical != "widget.wasm" {
		t.Errorf("Named(widget.0011.wasm) = %+v, %v, want logical name widget.wasm", f, ok)
	}
	if f, ok := m.Named("widget.wasm"); ok {
		t.Errorf("Named(widget.wasm) = %+v, want none: it is not a published name", f)
	}
	if f, ok := m.File("manifest.json"); ok {
		t.Errorf("File(manifest.json) = %+v, want none", f)
	}
}

func TestRead_Broken(t *testing.T) {
	t.Parallel()
	unreadable := tree()
	unreadable[public.ManifestPath] = &fstest.MapFile{Data: []byte("{")}
	for _, tc := range []struct {
		name string
		tree fs.FS
		want string
		is   error
	}{
		{"not built", fstest.MapFS{"widget/README.txt": {}}, "./build.sh", public.ErrNotBuilt},
		{"file missing", tree(public.Dir + "/checkout.js"), "checkout.js", fs.ErrNotExist},
		{"brotli missing", tree(public.Dir + "/widget.0011.wasm.br"), "widget.0011.wasm.br", fs.ErrNotExist},
		{"not JSON", unreadable, public.ManifestPath, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := public.Read(tc.tree)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Read() error = %v, want one that names %q", err, tc.want)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("Read() error = %v, want %v", err, tc.is)
			}
		})
	}
}

// TestLoad holds for a new clone and for a built one: the embedded tree is either
// whole or says what to run.
func TestLoad(t *testing.T) {
	t.Parallel()
	m, err := public.Load()
	if errors.Is(err, public.ErrNotBuilt) {
		return
	}
	if err != nil {
		t.Fatalf("Load() error = %v", err)
	}
	for _, name := range []string{"checkout.js", "checkout.mjs", "checkout.d.ts"} {
		if f, ok := m.File(name); !ok || f.Name != name || f.Immutable {
			t.Errorf("File(%s) = %+v, %v, want the stable entry point", name, f, ok)
		}
	}
	if f, ok := m.File("widget.wasm"); !ok || !f.Immutable || f.ContentType != "application/wasm" {
		t.Errorf("File(widget.wasm) = %+v, %v, want an immutable application/wasm", f, ok)
	}
}
