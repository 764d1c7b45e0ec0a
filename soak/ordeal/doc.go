// Package ordeal puts a running bff through what must not break it: WZRDPAY misbehaving,
// kill -9, power cuts, a full disk, a stepped clock, a webhook endpoint that hangs. Each
// ordeal starts the real binary beside a sandbox in this process, drives it as shops, shoppers and
// WZRDPAY do, and gives an error that lists every promise that was not kept. e2e runs
// them short, soak long.
package ordeal
