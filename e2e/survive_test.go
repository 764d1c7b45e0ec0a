package e2e_test

import (
	"os"
	"testing"

	"wzrdcheckout/soak/ordeal"
)

// Every callback that was answered 200 is applied after a kill -9.
func TestSurvive_Kill(t *testing.T) {
	if err := ordeal.Stream(t.Context(), ordeal.StreamConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Invoices: 600, Senders: 64, Pages: 24, Ends: 8, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}

// The same when the power fails: what was not synced is gone.
func TestSurvive_PowerCut(t *testing.T) {
	if err := ordeal.HaveTrace(); err != nil {
		if os.Getenv("CHECKOUT_STRACE") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err := ordeal.Stream(t.Context(), ordeal.StreamConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Invoices: 300, Senders: 64, Pages: 24, Ends: 5, PowerCut: true, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}

// A kill between the 200 of a callback and the frame that it causes.
func TestSurvive_Push(t *testing.T) {
	if err := ordeal.Push(t.Context(), ordeal.PushConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Pages: 80, Rounds: 4, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}

// A full disk refuses, and gives its work back with its space.
func TestSurvive_DiskFull(t *testing.T) {
	if err := ordeal.HaveDisk(); err != nil {
		t.Skip(err)
	}
	if err := ordeal.Disk(t.Context(), ordeal.DiskConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Fills: 4, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}

// A webhook endpoint that hangs, redirects or answers 500 makes no payment slower.
func TestSurvive_Endpoint(t *testing.T) {
	if err := ordeal.Endpoint(t.Context(), ordeal.EndpointConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Payments: 40, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}

// Forged, replayed, overtaken, doubled, oversized and broken callbacks, and connections
// that hang or flood, make no payment slower, change nothing, and are counted.
func TestSurvive_Hostile(t *testing.T) {
	if err := ordeal.Hostile(t.Context(), ordeal.HostileConfig{
		Bin: bff(t), Dir: t.TempDir(), Seed: seed, Payments: 15, Log: t.Logf,
	}); err != nil {
		t.Error(err)
	}
}
