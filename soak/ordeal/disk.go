package ordeal

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"wzrdcheckout/internal/sandbox"
)

// DiskConfig is how often the disk is full.
type DiskConfig struct {
	Bin, Dir string
	Seed     uint64
	Fills    int
	Log      func(format string, args ...any)
}

// diskBytes is the size of the disk: the floor of free space (128 MiB) and room above it.
const diskBytes = 400 << 20

// Disk fills the disk under the program while callbacks come in: they get 503, nothing
// that was answered 200 is lost, and with the space the work comes back. It does so
// without a restart when the floor of free space was kept; a disk that was filled to the
// last byte by others may end the program, which is then started again as any supervisor does. Dir is to be an empty folder; the disk is a tmpfs of its own on it.
func Disk(ctx context.Context, cfg DiskConfig) error {
	unmount, err := mount(cfg.Dir, diskBytes)
	if err != nil {
		return err
	}
	defer unmount()
	wzrd, stop, err := wzrdpay(ctx, sandbox.Config{HistoryLimit: 1000})
	if err != nil {
		return err
	}
	defer stop()
	wzrd.HoldCallbacks()
	p, err := NewProgram(Settings{Bin: cfg.Bin, Dir: cfg.Dir, WZRD: wzrd})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := p.Start(ctx); err != nil {
		return err
	}
	s := &stream{StreamConfig: StreamConfig{Seed: cfg.Seed}, program: p, wzrd: wzrd}
	if err := s.prepare(ctx, 160); err != nil {
		return err
	}
	life, over := context.WithCancel(ctx)
	defer over()
	const senders = 16
	failed := make(chan error, senders)
	list := s.list()
	var wg sync.WaitGroup
	for n := range senders {
		luck := rand.New(rand.NewPCG(cfg.Seed, uint64(n))) //nolint:gosec // a seed makes it come again
		wg.Go(func() { failed <- s.sender(life, list[n*10:n*10+10], luck) })
	}
	for fill := range cfg.Fills {
		if err := s.full(ctx, fill); err != nil {
			over()
			wg.Wait()
			return errors.Join(fmt.Errorf("fill %d: %w", fill+1, err), s.found.err(), p.told())
		}
	}
	over()
	wg.Wait()
	close(failed)
	for one := range failed {
		if err := one; err != nil {
			return err
		}
	}
	if err := s.applied(ctx); err != nil {
		return err
	}
	// What is in memory was right; now what is on the disk.
	if err := p.Restart(ctx); err != nil {
		return err
	}
	if err := s.applied(ctx); err != nil {
		return err
	}
	counts, fatal, err := p.Logged()
	if err != nil {
		return err
	}
	for _, line := range fatal {
		s.found.add("panics", "%s", line)
	}
	cfg.Log("the disk was full %d times, after %d of them the program ended to be started again; %d callbacks answered 200, of them lost or shown wrong %d; %d answered otherwise",
		cfg.Fills, s.restarts, s.stored.Load(), s.found.count("answered and not there"), s.refused.Load())
	cfg.Log("from the space to the first callback that is taken, and ready: %s; %s", spread(s.shut), loudest(counts))
	return s.found.err()
}

// full fills the disk, wholly or to just below the floor in turns, waits until nothing is
// accepted any more, and frees it.
func (s *stream) full(ctx context.Context, fill int) error {
	dir := s.program.settings.Dir
	ballast, ended := filepath.Join(dir, "ballast"), s.restarts
	leave := int64(0)
	if fill%2 == 0 {
		leave = 100 << 20
	}
	if err := occupy(ballast, leave); err != nil {
		return err
	}
	if err := until(ctx, 30*time.Second, func() error {
		before := s.stored.Load()
		_ = pause(ctx, 500*time.Millisecond)
		if n := s.stored.Load() - before; n > 0 {
			return fmt.Errorf("%d callbacks were accepted in half a second with %d bytes free", n, leave)
		}
		return nil
	}); err != nil {
		s.found.add("accepted on a full disk", "%v", err)
	}
	// No answer is one too: filling the disk takes several tries, and the program may have
	// seen space between two of them and be on its way to a new start.
	if status, _, err := s.program.call(ctx, http.MethodGet, "http://"+s.program.private+"/readyz", "", nil); err == nil && status != http.StatusServiceUnavailable {
		s.found.add("ready on a full disk", "/readyz: %d", status)
	}
	if err := os.Remove(ballast); err != nil {
		return fmt.Errorf("free disk: %w", err)
	}
	// The engine gives up a file of which a write has failed. The program then ends once
	// there is space, so that whatever watches over it starts it again.
	before, freed := s.stored.Load(), time.Now()
	err := until(ctx, time.Minute, func() error {
		if err := s.program.ended(); err != nil {
			s.restarts++
			if err := s.program.Kill(); !errors.Is(err, errEnded) {
				return err
			}
			if err := s.program.Start(ctx); err != nil {
				return err
			}
		}
		if s.stored.Load() == before {
			return errors.New("nothing is accepted although the disk has space again")
		}
		status, text, err := s.program.call(ctx, http.MethodGet, "http://"+s.program.private+"/readyz", "", nil)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("not ready although the disk has space again: %.300s", text)
		}
		return err
	})
	if err != nil {
		return err
	}
	s.shut = append(s.shut, time.Since(freed))
	if leave > 0 && s.restarts > ended {
		s.found.add("ended without need", "the floor of free space was kept")
	}
	return nil
}

// occupy makes a file that leaves so many bytes free, at once: quicker than the program
// can notice.
func occupy(path string, leave int64) error {
	free, err := freeBytes(filepath.Dir(path))
	if err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("fill disk: %w", err)
	}
	defer f.Close()
	for ; free > leave; free-- { // it may have grown less meanwhile
		if err = allocate(f, free-leave); err == nil {
			return nil
		}
		free -= min(64<<10, free-leave-1)
	}
	return fmt.Errorf("fill disk: %w", err)
}
