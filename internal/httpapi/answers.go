package httpapi

import (
	"container/list"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sync/singleflight"
)

const (
	answerBytes = 64 << 20 // of encoded answers kept
	tokenCount  = 20_000   // tokens whose signature was checked
)

// answerKey is what an answer of GET /v1/checkout depends on beside the versions.
type answerKey struct {
	session, scope, locale, language string
}

// answer is an encoded answer and the versions it was made from.
type answer struct {
	text     []byte
	currency string
	until    int64 // Unix seconds: the session's own end changes its status
	session  uint64
	services string
	length   []string // Content-Length of text
	zip      func() []byte
}

func newAnswer(text []byte, currency string, until int64) *answer {
	return &answer{text: text, currency: currency, until: until, length: []string{strconv.Itoa(len(text))}, zip: sync.OnceValue(func() []byte { return pack(text) })}
}

func (n *answer) packed() []byte { return n.zip() }

// answers keeps the answers used last, up to answerBytes.
type answers struct {
	mu     sync.Mutex
	byKey  map[answerKey]*list.Element
	recent *list.List // of *kept, the one used last in front
	bytes  int
	flight singleflight.Group
}

type kept struct {
	key answerKey
	*answer
}

func newAnswers() *answers {
	return &answers{byKey: make(map[answerKey]*list.Element), recent: list.New()}
}

func (s *answers) get(key answerKey) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.byKey[key]
	if e == nil {
		return nil
	}
	s.recent.MoveToFront(e)
	return e.Value.(*kept).answer
}

func (s *answers) put(key answerKey, n *answer) {
	size := cost(n)
	if size > answerBytes/8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.byKey[key]; e != nil {
		old := e.Value.(*kept)
		s.bytes += size - cost(old.answer)
		old.answer = n
		s.recent.MoveToFront(e)
	} else {
		s.byKey[key] = s.recent.PushFront(&kept{key, n})
		s.bytes += size
	}
	for s.bytes > answerBytes {
		e := s.recent.Back()
		last := s.recent.Remove(e).(*kept)
		delete(s.byKey, last.key)
		s.bytes -= cost(last.answer)
	}
}

// cost counts the packed form too, made or not.
func cost(n *answer) int { return len(n.text)*5/4 + 512 }

// once makes an answer that many ask for at once one time. The versions are part of what
// is asked for: who saw a newer one may not share the making of an older answer.
func (s *answers) once(key answerKey, session uint64, services string, f func() (*answer, error)) (*answer, error) {
	flight := strings.Join([]string{key.session, key.scope, key.locale, key.language, strconv.FormatUint(session, 10), services}, "\x00")
	v, err, _ := s.flight.Do(flight, func() (any, error) { return f() })
	if err != nil {
		return nil, err
	}
	return v.(*answer), nil
}

// tokens remembers the claims of tokens whose signature was checked; a token's own end
// is still looked at each time. A full one forgets all.
type tokens struct {
	mu   sync.RWMutex
	seen map[string]Claims
}

func newTokens() *tokens { return &tokens{seen: make(map[string]Claims)} }

func (t *tokens) get(token string) (Claims, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c, ok := t.seen[token]
	return c, ok
}

func (t *tokens) put(token string, c Claims) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.seen) >= tokenCount {
		clear(t.seen)
	}
	t.seen[token] = c
}
