package ordeal

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mount puts an empty disk of the given size on a folder.
func mount(dir string, size int64) (unmount func(), err error) {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, fmt.Errorf("mount a small disk on %s: %w", dir, err)
	}
	return func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }, nil // the folder is a temporary one
}

// HaveDisk tells whether a small disk can be made here.
func HaveDisk() error {
	dir, err := os.MkdirTemp("", "ordeal-disk-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(filepath.Clean(dir))
	unmount, err := mount(dir, 1<<20)
	if err != nil {
		return err
	}
	unmount()
	return nil
}

func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask disk: %w", err)
	}
	return int64(s.Bavail) * s.Bsize, nil //nolint:gosec // a disk has less than 2^63 bytes
}

// allocate gives a file so many bytes of the disk.
func allocate(f *os.File, size int64) error {
	return syscall.Fallocate(int(f.Fd()), 0, 0, size)
}
