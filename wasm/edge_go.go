//go:build js && wasm && !tinygo

package main

import "syscall/js"

// Standard Go: the loader waits under a global name for the module to call it with its
// dispatch function. The one js.Func lives as long as the module, which serves every
// widget of the page.
func main() {
	page := js.Global().Get("wzrdCheckoutEdge")
	asking = page.Get("ask")
	page.Call("ready", js.FuncOf(func(_ js.Value, args []js.Value) any {
		return host.Dispatch(args[0].String())
	}))
	select {}
}

var asking js.Value

func ask(text string) string { return asking.Invoke(text).String() }
