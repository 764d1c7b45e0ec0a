package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// section is a part of the run; limit ends it when the machine is too slow for it.
type section struct {
	name  string
	limit time.Duration
	run   func(*bench, context.Context) error
}

var sections = []section{
	{"size", 3 * time.Minute, (*bench).size},
	{"start", 4 * time.Minute, (*bench).start},
	{"checkout", 2 * time.Minute, (*bench).checkout},
	{"sessions", 2 * time.Minute, (*bench).sessions},
	{"callbacks", 4 * time.Minute, (*bench).callbacks},
	{"push", 6 * time.Minute, (*bench).push},
	{"storm", 2 * time.Minute, (*bench).storm},
	{"paint", 5 * time.Minute, (*bench).paint},
	{"many", 4 * time.Minute, (*bench).many},
	{"loss", 5 * time.Minute, (*bench).loss},
}

// bench is one run.
type bench struct {
	short bool
	bin   string // bin/bff
	root  string // scratch folder on the disk that is measured; removed at the end
	cache string // what may be kept between runs: peers' binaries and packages
	table table
	plots []plot
	sect  string
	busy  string // the load before the run
	fleet *fleet // the sockets of push, which storm goes on with
}

func main() {
	if role := os.Getenv(roleVariable); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, "bench "+role+":", err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	short := flag.Bool("short", false, "fewer turns, smaller stores: all sections in about 2 minutes instead of 12")
	write := flag.Bool("write", false, "write docs/benchmarks.md and its plots too")
	goals := flag.Bool("goals", false, "exit with 1 when a goal falls short or was not measured; else numbers are only said")
	limit := flag.Duration("limit", 12*time.Minute, "what has not been measured by then is said to be so")
	dir := flag.String("dir", "", "folder on the disk to measure (default: the system's for temporary files)")
	bin := flag.String("bff", "bin/bff", "the binary to measure")
	flag.Usage = func() {
		_, _ = fmt.Fprintf(flag.CommandLine.Output(), "bench [flags] [section …]\n\nMeasures every goal beside a peer or a limit; in full 12 minutes at most, with -short about 2,\non two cores that have nothing else to do (building bff before and peers at the first run apart).\nSections: %s\n\n", strings.Join(names(), " "))
		flag.PrintDefaults()
	}
	flag.Parse()
	chosen := flag.Args()
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			return fmt.Errorf("no section %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	path, err := filepath.Abs(*bin)
	if err != nil {
		return fmt.Errorf("find bff: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("find bff: %w (run ./build.sh)", err)
	}
	root, err := os.MkdirTemp(*dir, "wzrdcheckout-bench-")
	if err != nil {
		return fmt.Errorf("make scratch folder: %w", err)
	}
	defer os.RemoveAll(root)
	kept, err := os.UserCacheDir()
	if err != nil {
		kept = root
	}
	// The load comes from this process: its own garbage collection must not show up in
	// what it measures.
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	b := &bench{short: *short, bin: path, root: root, cache: filepath.Join(kept, "wzrdcheckout", "bench"), busy: busy()}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	defer b.endFleet()
	began := time.Now()
	within, over := context.WithDeadlineCause(ctx, began.Add(*limit), fmt.Errorf("the run has taken %s (-limit)", *limit))
	defer over()
	for _, s := range sections {
		if len(chosen) > 0 && !slices.Contains(chosen, s.name) {
			continue
		}
		if s.name != "storm" && s.name != "push" {
			b.endFleet()
		}
		b.runSection(within, s)
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
	}
	b.endFleet()
	took := time.Since(began).Round(time.Second)
	host := b.machine(ctx)
	summary := b.table.summary()
	fmt.Printf("\n%s\n%s\n%s\n", host.line(), b.table.text(), goalsText(summary))
	fmt.Printf("%s; %d rows in %s\n", tally(summary), len(b.table.rows), took)
	if *write {
		d := document{host: host, table: b.table, short: b.short, chosen: chosen, took: took}
		if d.pictures, err = b.draw(ctx, "docs"); err != nil {
			b.say("no plots: %v", err)
			d.noPictures = err
		}
		if err := os.WriteFile("docs/benchmarks.md", []byte(d.markdown()), 0o644); err != nil {
			return fmt.Errorf("write benchmarks: %w", err)
		}
	}
	if n := len(summary) - count(summary, holds); *goals && n > 0 {
		return fmt.Errorf("%d goals fall short or were not measured", n)
	}
	return nil
}

func names() []string {
	list := make([]string, len(sections))
	for i, s := range sections {
		list[i] = s.name
	}
	return list
}

func (b *bench) runSection(ctx context.Context, s section) {
	b.sect = s.name
	fmt.Fprintf(os.Stderr, "== %s\n", s.name)
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("the machine is too slow: section %s has taken %s", s.name, s.limit))
	defer cancel()
	if err := s.run(b, ctx); err != nil {
		if why := context.Cause(ctx); why != nil {
			err = fmt.Errorf("%w, at: %w", why, err)
		}
		b.missing("section "+s.name, "", err)
	}
	fmt.Fprintf(os.Stderr, "   %s took %s\n", s.name, time.Since(began).Round(100*time.Millisecond))
}

// say tells a number that is no row of its own.
func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, "   "+format+"\n", args...) }

// rounds is how often the parts of a comparison take turns.
func (b *bench) rounds(full int) int {
	if b.short {
		return max(2, full/3)
	}
	return full
}

// span is how long one turn lasts.
func (b *bench) span(full time.Duration) time.Duration {
	if b.short {
		return full / 2
	}
	return full
}

// quiet is how long memory must not have fallen to have settled.
func (b *bench) quiet() time.Duration { return b.span(3 * time.Second) }

// dir makes a folder on the measured disk.
func (b *bench) dir(name string) (string, error) {
	d, err := os.MkdirTemp(b.root, name+"-")
	if err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return d, nil
}

// have tells whether a program is on the path.
func have(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}
