package broker

import (
	"container/list"
	"sync"

	"wzrdcheckout/internal/checkout"
)

// cache holds the newest known entry of recently used keys, bounded in bytes, the least
// recently used leaving first. While it is off nothing is found and nothing is kept.
type cache struct {
	mu    sync.Mutex
	on    bool
	max   int64
	size  int64
	order *list.List // of *checkout.Entry, most recent first
	byKey map[string]*list.Element
	// floor keeps a slow read from putting back what a change has replaced meanwhile.
	floor map[string]uint64

	hits, misses uint64
}

// overhead is what a cached entry costs beside its bytes, roughly.
const overhead = 200

func newCache(max int64) *cache {
	return &cache{max: max, order: list.New(), byKey: map[string]*list.Element{}, floor: map[string]uint64{}}
}

func cost(e *checkout.Entry) int64 { return int64(len(e.Key)+len(e.Value)) + overhead }

func (c *cache) get(key string) (checkout.Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		c.misses++
		return checkout.Entry{}, false
	}
	c.hits++
	c.order.MoveToFront(el)
	return *el.Value.(*checkout.Entry), true
}

// reading announces a read of the store that will be offered with filled.
func (c *cache) reading(key string) {
	c.mu.Lock()
	if _, ok := c.floor[key]; !ok {
		c.floor[key] = 0
	}
	c.mu.Unlock()
}

// filled ends a read; the entry is kept when nothing newer was seen meanwhile.
func (c *cache) filled(key string, e *checkout.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	floor, known := c.floor[key]
	delete(c.floor, key)
	if e != nil && known && e.Version >= floor {
		c.put(*e)
	}
}

// changed tells of a stored change; own writes are kept, others only replace what is there.
func (c *cache) changed(e checkout.Entry, own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if floor, ok := c.floor[e.Key]; ok && e.Version > floor {
		c.floor[e.Key] = e.Version
	}
	if _, ok := c.byKey[e.Key]; ok || own {
		c.put(e)
	}
}

func (c *cache) put(e checkout.Entry) {
	if !c.on {
		return
	}
	if el, ok := c.byKey[e.Key]; ok {
		old := el.Value.(*checkout.Entry)
		if old.Version >= e.Version {
			return
		}
		c.size += cost(&e) - cost(old)
		*old = e
		c.order.MoveToFront(el)
	} else {
		c.byKey[e.Key] = c.order.PushFront(&e)
		c.size += cost(&e)
	}
	for c.size > c.max && c.order.Len() > 0 {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(el *list.Element) {
	e := c.order.Remove(el).(*checkout.Entry)
	delete(c.byKey, e.Key)
	c.size -= cost(e)
}

// turn switches the cache; off forgets everything, reads under way included.
func (c *cache) turn(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.on = on
	if !on {
		c.order.Init()
		clear(c.byKey)
		clear(c.floor)
		c.size = 0
	}
}

func (c *cache) counts() (hits, misses uint64, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.misses, c.size
}
