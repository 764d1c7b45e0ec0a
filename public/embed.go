// Package public owns the files that browsers load: cmd/assets writes them into
// widget/v1, this package embeds them into the binary and says what they are.
// It imports the standard library only.
package public

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
)

// Dir is the folder of the published files inside FS; their URL is "/" + Dir +
// "/" + File.Name. ManifestPath is the manifest inside FS; it is not a file to serve.
const (
	Dir          = "widget/v1"
	ManifestPath = Dir + "/manifest.json"
)

// FS holds the published files under Dir, each with its precompressed forms
// beside it (".br", ".gz"). On a clone that was not built it holds none.
//
//go:embed all:widget
var FS embed.FS

// ErrNotBuilt says that the binary was compiled before the assets were built.
var ErrNotBuilt = errors.New("the widget is not built into this binary: run ./build.sh")

// Manifest lists what cmd/assets published and what it was made from.
type Manifest struct {
	// Compiler made the wasm: "tinygo 0.41.1" or "go1.26.8".
	Compiler string `json:"compiler"`
	// Inputs has a sha256 in hex for each group of sources ("widget", "go.mod"), by
	// which a stale build is noticed.
	Inputs map[string]string `json:"inputs"`
	// Page lists, by logical name, what a page loads: checkout.js and all it refers to.
	Page []string `json:"page"`
	// PageBrotli is the sum of the brotli bytes of Page.
	PageBrotli int `json:"page_brotli"`
	// Files are sorted by logical name.
	Files []File `json:"files"`
}

// File is one published file.
type File struct {
	Name        string `json:"name"`         // "widget.3fa9c1d2e4f0.wasm": as in the URL and, under Dir, in FS
	Logical     string `json:"logical"`      // "widget.wasm": as the sources call it
	ContentType string `json:"content_type"` // with charset where it is text
	Integrity   string `json:"integrity"`    // subresource integrity, "sha384-" and base64
	Bytes       int    `json:"bytes"`
	Gzip        int    `json:"gzip"`
	Brotli      int    `json:"brotli"`
	Immutable   bool   `json:"immutable"` // the name holds a hash of the content: may be cached for ever
}

// File looks a file up by the name the sources use.
func (m Manifest) File(logical string) (File, bool) {
	for _, f := range m.Files {
		if f.Logical == logical {
			return f, true
		}
	}
	return File{}, false
}

// Named looks a file up by its published name.
func (m Manifest) Named(name string) (File, bool) {
	for _, f := range m.Files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

// Load returns the embedded manifest. It returns ErrNotBuilt when there is none, and
// an error naming the file when the manifest lists one that is not in FS.
func Load() (Manifest, error) { return load() }

var load = sync.OnceValues(func() (Manifest, error) { return Read(FS) })

// Read is Load for another tree laid out like FS, such as the public folder on disk.
func Read(tree fs.FS) (Manifest, error) {
	var m Manifest
	data, err := fs.ReadFile(tree, ManifestPath)
	if errors.Is(err, fs.ErrNotExist) {
		return m, ErrNotBuilt
	}
	if err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("parse %s: %w", ManifestPath, err)
	}
	for _, f := range m.Files {
		for _, suffix := range []string{"", ".br", ".gz"} {
			if _, err := fs.Stat(tree, Dir+"/"+f.Name+suffix); err != nil {
				return m, fmt.Errorf("find published file: %w", err)
			}
		}
	}
	return m, nil
}
