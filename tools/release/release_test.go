// Package release_test holds .goreleaser.yaml to goreleaser's own settings. It is a module
// of its own because goreleaser is large, and wants other versions than tools/packaging.
package release_test

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../.."

func TestGoreleaser(t *testing.T) {
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatalf("load .goreleaser.yaml: %v", err)
	}
	b := project.Builds[0]
	if !slices.Contains(b.Flags, "-trimpath") || b.ModTimestamp != "{{ .CommitTimestamp }}" || !slices.Contains(b.Env, "CGO_ENABLED=0") {
		t.Errorf("the build is not reproducible: %+v", b)
	}
	if len(b.Goos)*len(b.Goarch) != 6 || len(project.SBOMs) == 0 {
		t.Errorf("%v x %v, %d bills of materials", b.Goos, b.Goarch, len(project.SBOMs))
	}
	for _, f := range project.Archives[0].Files {
		if found, err := filepath.Glob(filepath.Join(root, f.Source)); err != nil || len(found) == 0 {
			t.Errorf("%s is not there: %v", f.Source, err)
		}
	}
}
