// Package httpapi is the edge: the routes of both planes, CORS, limits, JSON, static
// files, the hosted page, and the only place where an error's kind becomes a status
// and a problem document.
//
// It declares what it calls; internal/app joins it with the packages that do the
// work. It imports checkout, internal/page for the HTML, rs/cors and golang.org/x.
package httpapi
