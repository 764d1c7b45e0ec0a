// Package push owns the sockets of open widgets: it tells every page, on any
// replica, each new revision of its session, over WebSocket (subprotocol
// checkout.v1) or, where a network blocks WebSockets, by long poll.
//
// An idle socket costs one goroutine that reads and its small buffers. Nothing
// writes until there is something to write: then a goroutine of the socket's own
// empties its short queue and ends, so that a reader that does not read delays
// nobody else. It imports checkout and gorilla/websocket.
package push
