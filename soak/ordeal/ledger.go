package ordeal

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// ledger knows, from strace's record of one life of the program, which bytes of each file
// below a folder were surely on the disk at its end: those that were written before an
// fsync began that has returned, or through O_SYNC. A power cut is then the same folder
// with every file cut back to those bytes.
//
// It is stricter than most disks: nothing gets there without being asked for, not even a
// file that was renamed over another. What it does not model: that the entry of a new
// file may be missing from its folder, or that of a removed one back; and that bytes
// below the cut which were written over may be the older ones (lost.Overwritten counts
// the files in which that could be).
type ledger struct {
	root, path string
	files      map[string]*file
	open       map[int]*handle
	begun      map[string]begun // by thread: a call that has not returned
}

type file struct {
	size, synced int64
	over, clean  int // how often bytes below synced were written again; of these, synced since
}

type handle struct {
	*file
	path         string
	at           int64
	append, sync bool
}

// begun is the first half of a call, and for a sync the sizes when it began.
type begun struct {
	text string
	size int64
	over int
}

// lost is what a power cut took.
type lost struct {
	Files, Bytes, Overwritten int64
}

// HaveTrace tells whether power can be cut here.
func HaveTrace() error {
	path, err := exec.LookPath("strace")
	if err != nil {
		return fmt.Errorf("strace, which tells what was synced: %w", err)
	}
	// It may be there and forbidden, as in many containers.
	if out, err := exec.Command(path, "-f", "--seccomp-bpf", "-e", "trace=fsync", "true").CombinedOutput(); err != nil { //nolint:gosec,noctx // as found on the PATH; ends at once
		return fmt.Errorf("strace does not work here: %w: %s", err, out)
	}
	return nil
}

// newLedger begins with the folder as it is: all of it is on the disk.
func newLedger(root, path string) (*ledger, error) {
	l := &ledger{root: root + "/", path: path, files: map[string]*file{}, open: map[int]*handle{}, begun: map[string]begun{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			l.files[path] = &file{size: info.Size(), synced: info.Size()}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	return l, nil
}

// command stands in front of the program's.
func (l *ledger) command() []string {
	return []string{
		"strace", "-f", "--seccomp-bpf", "-y", "-s", "0", "-qq", "-o", l.path,
		"-e", "trace=openat,write,writev,pwrite64,pwritev,pwritev2,lseek,fsync,fdatasync,ftruncate,fallocate,copy_file_range,rename,renameat,renameat2,unlink,unlinkat",
		"-e", "signal=none",
	}
}

// cut reads the record and cuts the files.
func (l *ledger) cut() (lost, error) {
	if err := l.read(); err != nil {
		return lost{}, err
	}
	var sum lost
	for path, f := range l.files {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed
		}
		if err != nil {
			return sum, fmt.Errorf("look at file: %w", err)
		}
		if !info.Mode().IsRegular() {
			continue
		}
		if f.over > f.clean {
			sum.Overwritten++
		}
		if keep := min(f.synced, info.Size()); keep < info.Size() {
			sum.Files++
			sum.Bytes += info.Size() - keep
			if err := os.Truncate(path, keep); err != nil {
				return sum, fmt.Errorf("cut file: %w", err)
			}
		}
	}
	return sum, nil
}

var (
	line     = regexp.MustCompile(`^(\d+) +(.*)$`)
	resumed  = regexp.MustCompile(`^<\.\.\. (\w+) resumed>(.*)$`)
	returned = regexp.MustCompile(`^(\w+)\((.*)\) += (-?\d+)(.*)$`)
	target   = regexp.MustCompile(`^(\d+)<([^>]*)>`)
	quoted   = regexp.MustCompile(`"([^"]*)"`)
)

func (l *ledger) read() error {
	in, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("read trace: %w", err)
	}
	defer in.Close()
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		thread, text := m[1], m[2]
		if head, ok := strings.CutSuffix(text, "<unfinished ...>"); ok {
			b := begun{text: strings.TrimSpace(head)}
			if h := l.synced(b.text); h != nil {
				b.size, b.over = h.size, h.over
			}
			l.begun[thread] = b
			continue
		}
		b := begun{size: -1}
		if r := resumed.FindStringSubmatch(text); r != nil {
			b = l.begun[thread]
			delete(l.begun, thread)
			text = b.text + strings.TrimLeft(r[2], " ")
		}
		if call := returned.FindStringSubmatch(text); call != nil {
			if err := l.apply(call[1], call[2], call[3], call[4], b); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read trace: %w", err)
	}
	return nil
}

// synced finds the file of the text of an fsync.
func (l *ledger) synced(text string) *handle {
	name, args, _ := strings.Cut(text, "(")
	if name != "fsync" && name != "fdatasync" {
		return nil
	}
	return l.handle(args)
}

// handle finds the open file that a call's arguments begin with.
func (l *ledger) handle(args string) *handle {
	m := target.FindStringSubmatch(args)
	if m == nil || !strings.HasPrefix(m[2], l.root) {
		return nil
	}
	fd, err := strconv.Atoi(m[1])
	if err != nil {
		return nil
	}
	if h := l.open[fd]; h != nil && h.path == m[2] {
		return h
	}
	return nil
}

func (l *ledger) apply(call, args, result, rest string, b begun) error {
	n, err := strconv.ParseInt(result, 10, 64)
	if err != nil || n < 0 {
		return nil //nolint:nilerr // a call that failed did nothing
	}
	switch call {
	case "openat":
		l.opened(args, int(n), rest)
		return nil
	case "rename", "renameat", "renameat2":
		names := quoted.FindAllStringSubmatch(args, 2)
		if len(names) == 2 {
			l.renamed(names[0][1], names[1][1])
		}
		return nil
	case "unlink", "unlinkat":
		if name := quoted.FindStringSubmatch(args); name != nil {
			delete(l.files, name[1])
		}
		return nil
	case "copy_file_range":
		if strings.Contains(args, l.root) {
			return fmt.Errorf("read trace: %s(%s) is not understood", call, args)
		}
		return nil
	}
	h := l.handle(args)
	if h == nil {
		return nil
	}
	switch call {
	case "write", "writev":
		if h.append {
			h.at = h.size
		}
		h.wrote(h.at, n)
		h.at += n
	case "pwrite64":
		at, err := strconv.ParseInt(strings.TrimSpace(args[strings.LastIndexByte(args, ',')+1:]), 10, 64)
		if err != nil {
			return fmt.Errorf("read trace: where does %s(%s) write", call, args)
		}
		h.wrote(at, n)
	case "lseek":
		h.at = n
	case "fsync", "fdatasync":
		if b.size < 0 {
			b.size, b.over = h.size, h.over
		}
		h.synced, h.clean = max(h.synced, min(b.size, h.size)), max(h.clean, b.over)
	case "ftruncate":
		size, err := strconv.ParseInt(strings.TrimSpace(args[strings.LastIndexByte(args, ',')+1:]), 10, 64)
		if err != nil {
			return fmt.Errorf("read trace: how long is %s(%s)", call, args)
		}
		h.size, h.synced = size, min(h.synced, size)
	default:
		// A store that begins to write in another way must not pass for one that syncs.
		return fmt.Errorf("read trace: %s of %s is not understood", call, h.path)
	}
	return nil
}

func (h *handle) wrote(at, n int64) {
	if at < h.synced && !h.sync {
		h.over++
	}
	h.size = max(h.size, at+n)
	if h.sync && at <= h.synced {
		h.synced = max(h.synced, at+n)
	}
}

func (l *ledger) opened(args string, fd int, rest string) {
	name := strings.TrimPrefix(rest, "<")
	name, _, _ = strings.Cut(name, ">")
	if !strings.HasPrefix(name, l.root) {
		delete(l.open, fd)
		return
	}
	f := l.files[name]
	if f == nil {
		f = &file{}
		l.files[name] = f
	}
	h := &handle{file: f, path: name, append: strings.Contains(args, "O_APPEND"), sync: strings.Contains(args, "O_SYNC") || strings.Contains(args, "O_DSYNC")}
	if strings.Contains(args, "O_TRUNC") || strings.Contains(args, "O_EXCL") {
		*f = file{}
	}
	l.open[fd] = h
}

func (l *ledger) renamed(from, to string) {
	if f := l.files[from]; f != nil {
		delete(l.files, from)
		l.files[to] = f
		for _, h := range l.open {
			if h.file == f {
				h.path = to
			}
		}
	}
}
