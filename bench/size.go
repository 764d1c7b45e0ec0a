package main

import (
	"context"
	"fmt"
	"strings"

	"wzrdcheckout/public"
)

// size adds up what a page loads.
func (b *bench) size(ctx context.Context) error {
	m, err := public.Load()
	if err != nil {
		return err
	}
	var parts []string
	for _, logical := range m.Page {
		if f, ok := m.File(logical); ok {
			parts = append(parts, fmt.Sprintf("%s %d", logical, f.Brotli))
		}
	}
	peer := "Adyen Drop-in: see the next row"
	b.atMost("bytes to an interactive widget, brotli", 30_000, []float64{float64(m.PageBrotli)}, " B", peer)
	b.fact("… its parts ("+m.Compiler+")", strings.Join(parts, ", "), "")
	adyen, err := b.adyen(ctx)
	if err != nil {
		b.missing("Adyen Drop-in built from npm for the same 10 methods, brotli", "", err)
		return nil
	}
	b.below("… to Adyen Drop-in from npm, just those 10 methods", 0, []float64{float64(m.PageBrotli)}, []float64{float64(adyen.brotli)},
		[]float64{float64(m.PageBrotli) / float64(adyen.brotli)}, " B", adyen.version)
	return nil
}
