package checkout

// Update is one stored callback on its way into the state: what a signed body said,
// or why it could not be read.
type Update struct {
	// Invoice is the observation the body holds; zero when Problem is set.
	Invoice Invoice
	// Mode is the mode of the key that signed the body: "test" or "live".
	Mode string
	// ReceivedAt is when the callback was stored, Unix seconds of the replica's clock.
	ReceivedAt int64
	// Raw is the body as it was signed.
	Raw []byte
	// Problem, when not empty, says why Raw is no payment invoice. Such an update is
	// kept under "unclaimed" for the operator; it belongs to no session.
	Problem string
}

// Pack is one message of the callback log: records that were stored, and acknowledged,
// together. Seq is its sequence in its stream, from 1, growing, with gaps.
type Pack struct {
	Seq     uint64
	Records [][]byte
}
