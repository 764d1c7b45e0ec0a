//go:build !linux

package ordeal

import (
	"errors"
	"os"
)

var errNoDisk = errors.New("a small disk can be made on Linux only")

func mount(string, int64) (func(), error) { return nil, errNoDisk }

// HaveDisk tells whether a small disk can be made here.
func HaveDisk() error { return errNoDisk }

func freeBytes(string) (int64, error) { return 0, errNoDisk }

func allocate(*os.File, int64) error { return errNoDisk }
