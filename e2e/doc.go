// Package e2e drives the whole program in real Chromium: the journeys of a shopper, each
// told as what they do and see. It is a module of its own, so that what drives a browser
// stays out of the program's go.mod.
package e2e
