package main

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// median is the middle of a list, the mean of the two middle ones of an even one; NaN of
// none.
func median(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(list))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// quantile is the smallest value that at least the share q of the sorted list does not
// exceed; NaN of none.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	at := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(at, 0), len(sorted)-1)]
}

func least(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	return slices.Min(list)
}

func most(list []float64) float64 {
	if len(list) == 0 {
		return math.NaN()
	}
	return slices.Max(list)
}

// spread is from the lowest to the highest, and of how many.
func spread(list []float64) string {
	if len(list) < 2 {
		return "one turn"
	}
	return fmt.Sprintf("%.2f–%.2f of %d", least(list), most(list), len(list))
}

// pair collects two sides of a comparison that take turns.
type pair struct{ ours, peer, ratios []float64 }

func (p *pair) add(ours, peer float64) {
	p.ours, p.peer = append(p.ours, ours), append(p.peer, peer)
	p.ratios = append(p.ratios, ours/peer)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// sorted joins lists and sorts them.
func sorted(lists [][]time.Duration) []time.Duration {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}
