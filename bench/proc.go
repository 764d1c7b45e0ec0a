package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

var errNoProc = errors.New("memory and CPU of a process are read from /proc, which is Linux'")

// rss is the memory of a process that is in RAM, in bytes.
func rss(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, errNoProc
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kB * 1024, err
		}
	}
	return 0, errNoProc
}

// settled waits until the memory of a process has not fallen for as long as quiet,
// fifteen seconds at most, and gives what it is then. Whatever garbage the runtime keeps
// counts.
func settled(ctx context.Context, pid int, quiet time.Duration) (float64, error) {
	low, err := rss(pid)
	if err != nil {
		return 0, err
	}
	since, end := time.Now(), time.Now().Add(15*time.Second)
	last := low
	for time.Since(since) < quiet && time.Now().Before(end) {
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return 0, err
		}
		if last, err = rss(pid); err != nil {
			return 0, err
		}
		if last < low*0.995 {
			low, since = last, time.Now()
		}
	}
	return last, nil
}

// cpu is the processor time that a process has used, all threads, user and system. The
// kernel counts it in hundredths of a second.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, errNoProc
	}
	_, rest, ok := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, errNoProc
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// openFiles is how many files a process may have open; Go has raised its own limit to it.
func openFiles() int {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return 1024
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			if n, err := strconv.Atoi(strings.Fields(rest)[1]); err == nil {
				return n
			}
		}
	}
	return 1024
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// machine is what the numbers were measured on.
type machine struct {
	cpu, kernel, disk, golang, bff, chromium, date string
	cores                                          int
	syncs                                          []time.Duration // of one 4 kB append each, sorted
	before, after                                  string          // how busy the machine was
}

func (b *bench) machine(ctx context.Context) machine {
	m := machine{cores: runtime.NumCPU(), golang: runtime.Version(), cpu: runtime.GOARCH, date: time.Now().UTC().Format("2006-01-02")}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.cpu = strings.TrimSpace(value)
				break
			}
		}
	}
	m.kernel = output(ctx, "uname", "-srm")
	m.disk = disk(b.root)
	m.bff = output(ctx, b.bin, "version")
	if path, err := chromium(); err == nil {
		m.chromium = output(ctx, path, "--version")
	}
	m.syncs, _ = syncTimes(b.root, 100)
	m.before, m.after = b.busy, busy()
	return m
}

// busy is how many processes wanted to run, in the mean of the last minute.
func busy() string {
	text, err := os.ReadFile("/proc/loadavg")
	first, _, ok := strings.Cut(string(text), " ")
	if err != nil || !ok {
		return "unknown"
	}
	return first
}

// disk is the kind of file system that a folder is on, as the mounts say.
func disk(dir string) string {
	text, err := os.ReadFile("/proc/self/mounts")
	kind, longest := "of unknown kind", 0
	if err != nil {
		return kind
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 2 && len(fields[1]) >= longest && (fields[1] == "/" || strings.HasPrefix(dir+"/", fields[1]+"/")) {
			kind, longest = fields[2], len(fields[1])
		}
	}
	return kind
}

func (m machine) lines() []string {
	list := []string{
		fmt.Sprintf("%s, %d cores, %s", m.cpu, m.cores, m.kernel),
		fmt.Sprintf("disk %s: append of 4 kB and fdatasync p50 %.2f ms, p99 %.2f ms (at the end of the run; the disk's mood changes, so rows have their own)",
			m.disk, ms(quantile(m.syncs, 0.5)), ms(quantile(m.syncs, 0.99))),
		fmt.Sprintf("%s; %s", m.golang, m.bff),
	}
	if m.chromium != "" {
		list = append(list, m.chromium)
	}
	return append(list, fmt.Sprintf("%s; load before the run %s, at its end %s (its own included): more than the cores at the start means that others were measured too", m.date, m.before, m.after))
}

func (m machine) line() string { return strings.Join(m.lines(), "\n") }

func output(ctx context.Context, name string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).Output() //nolint:gosec // uname, bff, Chromium
	if err != nil {
		return "unknown (" + filepath.Base(name) + " does not say)"
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return first
}

// syncTimes measures appends of 4 kB with a sync after each.
func syncTimes(dir string, n int) ([]time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return nil, fmt.Errorf("measure disk: %w", err)
	}
	defer f.Close()
	defer os.Remove(f.Name())
	block := make([]byte, 4096)
	var list []time.Duration
	for range n {
		began := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, fmt.Errorf("measure disk: %w", err)
		}
		if err := syncData(f); err != nil {
			return nil, fmt.Errorf("measure disk: %w", err)
		}
		list = append(list, time.Since(began))
	}
	slices.Sort(list)
	return list, nil
}
