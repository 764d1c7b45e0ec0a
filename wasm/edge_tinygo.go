//go:build js && wasm && tinygo

package main

import (
	"strings"
	"unsafe"
)

// TinyGo has no finalizers, so syscall/js would keep every value it ever touched. The
// module therefore imports one function and exports three, and never uses syscall/js.
// The other side is widget/js/wasm_exec_tinygo.js.

var in, out []byte

// main is never run: the module is a library.
func main() {}

// room gives the address of n bytes for the page to write a text into.
//
//go:wasmexport room
func room(n int32) unsafe.Pointer {
	if cap(in) < int(n)+1 {
		in = make([]byte, n+1+n/2)
	}
	in = in[:n+1]
	return unsafe.Pointer(&in[0])
}

// dispatch handles the message of n bytes in the room and gives the length of the
// commands; output gives their address. "save" and "restore" move all widgets into a
// fresh instance of the module, which collects no garbage.
//
//go:wasmexport dispatch
func dispatch(n int32) int32 {
	message := string(in[:n])
	if message == "save" {
		out = []byte(host.Save())
	} else if saved, ok := strings.CutPrefix(message, "restore\n"); ok {
		host.Restore(saved)
		out = out[:0]
	} else {
		out = append(out[:0], host.Dispatch(message)...)
	}
	return int32(len(out))
}

//go:wasmexport output
func output() unsafe.Pointer { return unsafe.Pointer(unsafe.SliceData(out)) }

//go:wasmimport env ask
func askPage(text *byte, n int32) int32

func ask(text string) string {
	n := askPage(unsafe.StringData(text), int32(len(text)))
	return string(in[:n])
}
