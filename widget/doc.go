// Package widget is the behaviour of the checkout that a shopper sees: what is shown
// (View), what happens on every event (Update), which changes of the document follow
// (Diff), and the words of every language.
//
// It is pure: no clock, no network, no document. The BFF renders a Model to HTML for
// the first paint and for pages without JavaScript; in the browser the same code takes
// over the same nodes. Host joins many widgets to one edge, package wasm. Everything
// that crosses that edge is text, so that the page keeps no table of references.
//
// It imports checkout, fields and a few small packages of the standard library, because
// TinyGo compiles it and every byte is downloaded by a shopper.
package widget
