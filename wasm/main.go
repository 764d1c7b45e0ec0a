//go:build js && wasm

// Package main is the widget's edge to the browser: text in, text out. All behaviour is
// in package widget, all contact with the document in widget/js; neither side holds a
// reference to anything of the other. edge_tinygo.go and edge_go.go differ in how text
// crosses the border.
package main

import "wzrdcheckout/widget"

var host = widget.NewHost(ask)
