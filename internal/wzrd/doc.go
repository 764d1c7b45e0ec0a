// Package wzrd is the one place that knows WZRDPAY: its ten operations, its JSON in
// all the forms that were seen, its error codes and what each tells a client to do, its
// callbacks' signature. What leaves the package is the vocabulary of checkout.
//
// It owns go-cache (the pre-request cache), backoff (retries of reads) and gobreaker (a
// breaker per API); of our own it imports checkout only. The sandbox is a second reading
// of the same documents and must never be imported here, nor import this package.
package wzrd
