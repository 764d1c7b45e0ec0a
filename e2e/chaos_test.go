package e2e_test

import (
	"testing"

	"wzrdcheckout/soak/ordeal"
)

// A WZRDPAY that answers late, wrong, twice or not at all; five submits of each attempt at
// once; ten kills: every attempt has exactly one invoice, and everybody was told.
func TestChaos(t *testing.T) {
	if err := ordeal.Chaos(t.Context(), ordeal.ChaosConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Sessions: 600, Submits: 5, Kills: 10, Workers: 24, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}
