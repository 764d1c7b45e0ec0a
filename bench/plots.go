package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// plot is a picture where growth is the point. bench/plot draws it.
type plot struct {
	Name   string  `json:"name"` // docs/benchmarks-<name>.svg
	Title  string  `json:"title"`
	Panels []panel `json:"panels"` // side by side
}

// panel has its X axis in powers, marked where there are points.
type panel struct {
	X    string  `json:"x"`
	Y    string  `json:"y"`
	LogY bool    `json:"log_y"`
	Rows []curve `json:"rows"`
}

// curve is a line; kind says how it looks.
type curve struct {
	Name   string       `json:"name"`
	Kind   string       `json:"kind"` // "ours", "peer", "limit" or "second" (ours too)
	Points [][2]float64 `json:"points"`
}

// with adds a point.
func (c *curve) with(x, y float64) { c.Points = append(c.Points, [2]float64{x, y}) }

// drawable are those that have points.
func drawable(list ...curve) []curve {
	return slices.DeleteFunc(list, func(c curve) bool { return len(c.Points) == 0 })
}

// draw writes the plots of this run into dir, and removes those of runs before.
func (b *bench) draw(ctx context.Context, dir string) ([]picture, error) {
	old, err := filepath.Glob(filepath.Join(dir, "benchmarks-*.svg"))
	if err != nil {
		return nil, fmt.Errorf("find old plots: %w", err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove old plot: %w", err)
		}
	}
	if len(b.plots) == 0 {
		return nil, nil
	}
	helper, err := b.built(ctx, "plot")
	if err != nil {
		return nil, err
	}
	order, err := json.Marshal(b.plots)
	if err != nil {
		return nil, fmt.Errorf("order plots: %w", err)
	}
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, helper) //nolint:gosec // just built
	cmd.Stdin, cmd.Stderr = bytes.NewReader(order), &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("draw plots: %w: %.300s", err, strings.TrimSpace(complaint.String()))
	}
	var drawn map[string]string
	if err := json.Unmarshal(out, &drawn); err != nil {
		return nil, fmt.Errorf("read plots: %w", err)
	}
	var list []picture
	for _, p := range b.plots {
		if drawn[p.Name] == "" {
			return nil, fmt.Errorf("plot %q was not drawn, only %q", p.Name, slices.Sorted(maps.Keys(drawn)))
		}
		file := "benchmarks-" + p.Name + ".svg"
		if err := os.WriteFile(filepath.Join(dir, file), []byte(drawn[p.Name]), 0o644); err != nil {
			return nil, fmt.Errorf("write plot: %w", err)
		}
		list = append(list, picture{file, p.Title})
	}
	return list, nil
}
