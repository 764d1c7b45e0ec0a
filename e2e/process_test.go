package e2e_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"wzrdcheckout/soak/ordeal"
)

// binary builds cmd/bff once for all tests that run it as a process of its own.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "wzrdcheckout-e2e-")
	if err != nil {
		return "", err
	}
	built = dir
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return ordeal.Build(ctx, "..", dir)
})

// built is the folder of binary, "" = none.
var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

// bff is the path of the program. A failed test leaves its log.
func bff(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// seed is that of every ordeal; other runs take others from $CHECKOUT_SEED.
const seed = 20261122
