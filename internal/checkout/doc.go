// Package checkout is the vocabulary that the page and the BFF share: session,
// service, method, field, invoice, status, resolution and amount, the merge of
// two observations of one invoice, and the kinds of error.
//
// It does no I/O, knows no clock (times are Unix seconds handed in) and imports
// nothing but strconv, strings, errors and slices, because the widget compiles
// it with TinyGo.
package checkout
