package webhook

import (
	"container/heap"
	"slices"
	"time"
)

// item is an event that waits. known: delivery and version are what is stored. at is
// when the event happened, stored its version in the store. busy and lane are the
// queue's; the rest belongs to whoever took the item, while it is busy.
type item struct {
	event
	stored   uint64
	at       time.Time
	known    bool
	delivery delivery
	version  uint64
	busy     bool
	again    bool // asked for again while busy
	lane     *lane
}

// lane is what goes out in order: the waiting events of a session, or one redelivery.
type lane struct {
	name  string
	items []*item // by n; the first is next
	due   time.Time
	retry bool
	busy  bool // its first is being sent
	index int  // in its heap, -1 = in none
}

// lanes is a heap by due.
type lanes []*lane

func (l lanes) Len() int           { return len(l) }
func (l lanes) Less(i, j int) bool { return l[i].due.Before(l[j].due) }
func (l lanes) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

func (l *lanes) Push(x any) {
	a := x.(*lane)
	a.index = len(*l)
	*l = append(*l, a)
}

func (l *lanes) Pop() any {
	last := len(*l) - 1
	a := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	a.index = -1
	return a
}

// queue holds the events that are not done. It is not safe for concurrent use.
type queue struct {
	items       map[event]*item
	lanes       map[string]*lane
	fresh       lanes // nothing failed yet
	retry       lanes
	busy        int
	busyRetries int
	changed     bool // since the cursor was taken
}

func newQueue() *queue {
	return &queue{items: map[event]*item{}, lanes: map[string]*lane{}}
}

// add puts an event into its lane, once.
func (q *queue) add(it *item, now time.Time) {
	if q.items[it.event] != nil {
		return
	}
	q.items[it.event] = it
	q.changed = true
	name := it.session
	if it.known && it.delivery.Resend {
		name = it.String()
	}
	l := q.lanes[name]
	if l == nil {
		l = &lane{name: name, index: -1}
		q.lanes[name] = l
	}
	it.lane = l
	i, _ := slices.BinarySearchFunc(l.items, it.n, func(x *item, n int) int { return x.n - n })
	l.items = slices.Insert(l.items, i, it)
	if i == 0 && !l.busy {
		q.park(l)
		q.schedule(l, now, it.delivery.Tries > 0)
	}
}

func (q *queue) heapOf(l *lane) *lanes {
	if l.retry {
		return &q.retry
	}
	return &q.fresh
}

func (q *queue) park(l *lane) {
	if l.index >= 0 {
		heap.Remove(q.heapOf(l), l.index)
	}
}

func (q *queue) schedule(l *lane, due time.Time, retry bool) {
	l.due, l.retry = due, retry
	heap.Push(q.heapOf(l), l)
}

// take gives an event that is due and for which a slot is free, or nil. Retries come
// first but have half of the slots, so neither starves the other.
func (q *queue) take(now time.Time) *item {
	if q.busy >= concurrency {
		return nil
	}
	var l *lane
	switch {
	case q.busyRetries < retryConcurrency && len(q.retry) > 0 && !q.retry[0].due.After(now):
		l = heap.Pop(&q.retry).(*lane)
		q.busyRetries++
	case len(q.fresh) > 0 && !q.fresh[0].due.After(now):
		l = heap.Pop(&q.fresh).(*lane)
	default:
		return nil
	}
	q.busy++
	it := l.items[0]
	it.busy, l.busy = true, true
	return it
}

// wait tells how long until take can give something; false = not by waiting alone.
func (q *queue) wait(now time.Time) (time.Duration, bool) {
	if q.busy >= concurrency {
		return 0, false
	}
	var due time.Time
	if len(q.fresh) > 0 {
		due = q.fresh[0].due
	}
	if len(q.retry) > 0 && q.busyRetries < retryConcurrency && (due.IsZero() || q.retry[0].due.Before(due)) {
		due = q.retry[0].due
	}
	if due.IsZero() {
		return 0, false
	}
	return max(0, due.Sub(now)), true
}

func (q *queue) release(it *item) {
	it.busy, it.lane.busy = false, false
	q.busy--
	if it.lane.retry {
		q.busyRetries--
	}
}

// done removes a taken event; the next one of its lane is due.
func (q *queue) done(it *item, now time.Time) {
	q.release(it)
	delete(q.items, it.event)
	q.changed = true
	l := it.lane
	l.items = slices.DeleteFunc(l.items, func(x *item) bool { return x == it })
	if len(l.items) == 0 {
		delete(q.lanes, l.name)
		return
	}
	q.schedule(l, now, l.items[0].delivery.Tries > 0)
}

// later puts a taken event back, to be taken at due.
func (q *queue) later(it *item, due, now time.Time) {
	q.release(it)
	if it.again {
		it.again, it.known, due = false, false, now
	}
	q.schedule(it.lane, due, it.lane.items[0].delivery.Tries > 0)
}

// nudge makes a waiting event read its delivery again, and be taken soon if it is the
// next of its lane.
func (q *queue) nudge(it *item, now time.Time) {
	if it.busy {
		it.again = true
		return
	}
	it.known = false
	if l := it.lane; l.items[0] == it {
		q.park(l)
		q.schedule(l, now, false)
	}
}

// oldest is when the event that waits longest happened, zero for none.
func (q *queue) oldest() time.Time {
	var t time.Time
	for _, it := range q.items {
		if t.IsZero() || it.at.Before(t) {
			t = it.at
		}
	}
	return t
}
