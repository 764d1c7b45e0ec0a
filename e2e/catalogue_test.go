package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"wzrdcheckout/soak/ordeal"
)

// Every service of the OpenFinTech catalogue, through the running program.
func TestCatalogue(t *testing.T) {
	shared := os.Getenv("WZRDCHECKOUT_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "shared")
	}
	path := filepath.Join(shared, "data", "openfintech.json")
	if _, err := os.Stat(path); err != nil {
		t.Skip("the catalogue is not here: ", err)
	}
	if err := ordeal.Catalogue(t.Context(), ordeal.CatalogueConfig{
		Bin: bff(t), Dir: t.TempDir(), File: path, Every: 8, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}
