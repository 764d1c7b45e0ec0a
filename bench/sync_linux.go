package main

import (
	"os"
	"syscall"
)

// syncData brings a file's content to the disk.
func syncData(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }
