package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"wzrdcheckout/internal/sandbox"
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
	data, err := b.tenMethods(ctx)
	if err != nil {
		return err
	}
	parts = append(parts, fmt.Sprintf("GET /v1/checkout for 10 methods %d", data))
	ours := float64(m.PageBrotli + data)
	b.atMost("bytes to an interactive widget, brotli", 30_000, []float64{ours}, " B", "Adyen Drop-in: see the section")
	b.fact("… its parts ("+m.Compiler+")", "", strings.Join(parts, ", "))
	const hyperswitch = "… to Hyperswitch"
	b.missing(hyperswitch, "", errors.New("its package on npm only loads a script from its own host, and nothing here leaves the machine; in an earlier measurement on another day 653 kB"))
	adyen, err := b.adyen(ctx)
	if err != nil {
		b.missing("… to Adyen Drop-in from npm, just those 10 methods", "", err)
		return nil
	}
	b.against("… to Adyen Drop-in from npm, just those 10 methods", ours, float64(adyen.brotli),
		fmt.Sprintf("%s: JS %d, CSS %d", adyen.version, len(packed(adyen.files["adyen.js"])), len(packed(adyen.files["adyen.css"]))))
	b.against("… to Adyen Drop-in from npm, all methods, as its CDN has it", ours, float64(adyen.all), adyen.version+" from its /auto")
	return nil
}

// tenMethods is how many bytes the list of ten methods has, with its markup.
func (b *bench) tenMethods(ctx context.Context) (int, error) {
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{Faults: sandbox.NoFaults()})
	if err != nil {
		return 0, err
	}
	defer stop()
	dir, err := b.dir("size")
	if err != nil {
		return 0, err
	}
	f, err := b.startBFF(ctx, bffSettings{wzrd: wzrd, dir: dir})
	if err != nil {
		return 0, err
	}
	defer f.kill()
	_, text, err := f.tenMethods(ctx, "https://shop.example")
	return len(packed(text)), err
}

// against adds a row for bytes that both have.
func (b *bench) against(what string, ours, peer float64, peerIs string) {
	b.below(what, 0, []float64{ours}, []float64{peer}, []float64{ours / peer}, " B", peerIs)
	b.table.rows[len(b.table.rows)-1].spread = ""
}
