// Package broker owns what is stored: the state of every session, the log of
// callbacks and the timers, all in NATS JetStream. It is the only package that knows
// NATS. The engine runs in one of three places and the code above it is the same:
//
//   - single: inside this process, no port, one folder, every write synced;
//   - cluster: inside each of the replicas, which find one another (ClusterPeers);
//   - external: a NATS server or cluster that somebody else runs (NATSURL).
//
// # Streams
//
// CHECKOUT holds the state, one message per key ("checkout.state." + key), so that one
// atomic batch can span a session, its reference, its event, its timer and the cursor of
// what was applied. CALLBACKS_0 (and _1, _2 where there is more than one replica) hold
// the callbacks, many packed into one message, because with one sync per message that is
// what makes the intake fast.
//
// Timers live in CHECKOUT too. Tried on nats-server 2.15.2: in one stream and one atomic
// batch, expected-last-subject-sequence, per-message TTL, message id, republish and
// "@at" schedules work together; a schedule whose time has passed fires within 250 ms;
// writing the key again moves it, writing it without a time cancels it; it survives a
// restart. So a timer is written with the state that needs it, or not at all. A timer
// that is due becomes a message under "checkout.due." which the DUE consumer hands out.
//
// Two properties that decided the rest: on one node a batch is republished message by
// message before its last sync, so in a single process watchers are fed by the committer
// instead, after the ack; and a stream with schedules can not refuse new messages when
// full (discard new), so CHECKOUT has no byte limit and a floor of free disk space guards
// it (MinFreeBytes).
//
// # Growing from one node to three
//
// A single engine keeps its files in Dir/single, a clustered one in Dir/cluster. A replica
// that starts as a member of a cluster and finds Dir/single moves the streams into the
// cluster, sequences and timers included, before any replica creates them, and renames
// the folder to Dir/single.moved. Only one replica may bring data.
package broker
