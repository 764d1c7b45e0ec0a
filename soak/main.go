// Command soak is the long form of the ordeals that the tests run short: it puts bin/bff
// through each for as long as a release is worth, prints what happened, and exits 1 when
// a promise was not kept.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"wzrdcheckout/soak/ordeal"
)

// trial is one ordeal at its full length; 1 is the full, less is shorter.
type trial struct {
	name string
	able func() error // nil = everywhere
	run  func(ctx context.Context, s scene) error
}

// scene is where a trial happens.
type scene struct {
	bin, dir, catalogue string
	seed                uint64
	length              float64
}

func (s scene) times(full, least int) int { return max(least, int(float64(full)*s.length)) }

func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

var trials = []trial{
	{"chaos", nil, func(ctx context.Context, s scene) error {
		return ordeal.Chaos(ctx, ordeal.ChaosConfig{
			Bin: s.bin, Dir: s.dir, Seed: s.seed, Sessions: s.times(10_000, 100), Submits: 5, Kills: 10, Workers: 32, Log: say,
		})
	}},
	{"kill", nil, func(ctx context.Context, s scene) error {
		return ordeal.Stream(ctx, ordeal.StreamConfig{
			Bin: s.bin, Dir: s.dir, Seed: s.seed, Invoices: 2000, Senders: 64, Pages: 40, Ends: s.times(100, 2), Log: say,
		})
	}},
	{"power", ordeal.HaveTrace, func(ctx context.Context, s scene) error {
		return ordeal.Stream(ctx, ordeal.StreamConfig{
			Bin: s.bin, Dir: s.dir, Seed: s.seed, Invoices: 1000, Senders: 64, Pages: 40, Ends: s.times(100, 2), PowerCut: true, Log: say,
		})
	}},
	{"push", nil, func(ctx context.Context, s scene) error {
		return ordeal.Push(ctx, ordeal.PushConfig{Bin: s.bin, Dir: s.dir, Seed: s.seed, Pages: 200, Rounds: s.times(100, 2), Log: say})
	}},
	{"disk", ordeal.HaveDisk, func(ctx context.Context, s scene) error {
		return ordeal.Disk(ctx, ordeal.DiskConfig{Bin: s.bin, Dir: s.dir, Seed: s.seed, Fills: s.times(40, 2), Log: say})
	}},
	{"endpoint", nil, func(ctx context.Context, s scene) error {
		return ordeal.Endpoint(ctx, ordeal.EndpointConfig{Bin: s.bin, Dir: s.dir, Seed: s.seed, Payments: s.times(500, 20), Log: say})
	}},
	{"hostile", nil, func(ctx context.Context, s scene) error {
		return ordeal.Hostile(ctx, ordeal.HostileConfig{Bin: s.bin, Dir: s.dir, Seed: s.seed, Payments: s.times(200, 10), Log: say})
	}},
	{"catalogue", nil, func(ctx context.Context, s scene) error {
		if s.catalogue == "" {
			return errors.New("no catalogue: say where it is with -catalogue")
		}
		return ordeal.Catalogue(ctx, ordeal.CatalogueConfig{Bin: s.bin, Dir: s.dir, File: s.catalogue, Every: 1, Log: say})
	}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	seed := flag.Uint64("seed", uint64(time.Now().Unix()), "of everything that is left to chance") //nolint:gosec // after 1970
	length := flag.Float64("length", 1, "part of the full length")
	catalogue := flag.String("catalogue", found(filepath.Join("..", "shared", "data", "openfintech.json")), "OpenFinTech catalogue")
	keep := flag.String("dir", "", "work there and leave everything (default: a new folder, removed when all is well)")
	flag.Usage = func() {
		_, _ = fmt.Fprintf(flag.CommandLine.Output(), "soak [flags] [trial …]; trials: %s\n", strings.Join(names(), " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	wanted := flag.Args()
	for _, name := range wanted {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("no trial %q; there are %s", name, strings.Join(names(), " "))
		}
	}
	bin, err := filepath.Abs("bin/bff")
	if err != nil {
		return fmt.Errorf("find bff: %w", err)
	}
	root := *keep
	if root == "" {
		if root, err = os.MkdirTemp("", "wzrdcheckout-soak-"); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	fmt.Printf("seed %d, in %s\n", *seed, root)
	var failed []string
	for _, t := range trials {
		if len(wanted) > 0 && !slices.Contains(wanted, t.name) || ctx.Err() != nil {
			continue
		}
		fmt.Printf("== %s\n", t.name)
		if t.able != nil {
			if err := t.able(); err != nil {
				say("not done: %v", err)
				failed = append(failed, t.name)
				continue
			}
		}
		dir := filepath.Join(root, t.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		began := time.Now()
		if err := t.run(ctx, scene{bin, dir, *catalogue, *seed, *length}); err != nil {
			say("BROKEN after %s: %v", time.Since(began).Round(time.Second), err)
			failed = append(failed, t.name)
			continue
		}
		say("kept in %s", time.Since(began).Round(time.Second))
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case len(failed) > 0:
		return fmt.Errorf("not kept: %s; the logs are in %s", strings.Join(failed, ", "), root)
	case *keep == "":
		return os.RemoveAll(root)
	}
	return nil
}

func names() []string {
	var list []string
	for _, t := range trials {
		list = append(list, t.name)
	}
	return list
}

// found gives the path of a file that is there, else "".
func found(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}
