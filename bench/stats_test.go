package main

import (
	"math"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		list []float64
		want float64
	}{
		{"one", []float64{3}, 3},
		{"odd, not in order", []float64{9, 1, 5}, 5},
		{"even", []float64{4, 1, 3, 2}, 2.5},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			before := append([]float64{}, row.list...)
			if got := median(row.list); got != row.want {
				t.Errorf("median(%v) = %v, want %v", row.list, got, row.want)
			}
			for i := range before {
				if row.list[i] != before[i] {
					t.Errorf("median changed its list to %v", row.list)
				}
			}
		})
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median(nil) = %v, want NaN", got)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	var list []time.Duration
	for i := range 100 {
		list = append(list, time.Duration(i+1))
	}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := quantile(list, q); got != want {
			t.Errorf("quantile(1…100, %v) = %d, want %d", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile(nil) = %v, want 0", got)
	}
}

func TestPair(t *testing.T) {
	t.Parallel()
	var p pair
	p.add(3, 4)
	p.add(1, 2)
	if got := median(p.ratios); got != 0.625 {
		t.Errorf("median of ratios = %v, want 0.625: of each round, not of the medians", got)
	}
	if got := spread(p.ratios); got != "0.50–0.75 of 2" {
		t.Errorf("spread = %q", got)
	}
}
