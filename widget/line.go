package widget

// The line to the BFF: a WebSocket (checkout.v1), and a long poll where sockets do
// not come through.
const (
	lineOff     = iota // waiting for a timer, or for nothing
	lineOpening        // the socket is being opened
	lineOpen           // hello is sent
	linePolling        // sockets failed: a long poll is on its way
)

const (
	maxFails     = 3      // sockets that failed in a row until the long poll takes over
	openWithin   = 10_000 // ms for a socket to stand
	steadyAfter  = 20_000 // ms a socket has to live to count as good
	backoffFirst = 1_000  // ms, doubled with every failure
	backoffMost  = 30_000
	awayLong     = 30_000 // ms in the background after which a socket may be dead without knowing
)

type line struct {
	state   int64
	fails   int64
	since   int64 // when the state began
	hidden  int64 // when the page was hidden, 0 = it is not
	stopped bool  // the BFF said: do not come back
}

func (u *update) turn(state int64) { u.line.state, u.line.since = state, u.ev.Now }

func (u *update) connect() {
	if u.line.stopped || u.phase == broken || u.phase == loading {
		return
	}
	u.do("abort\npoll")
	u.turn(lineOpening)
	u.do("socket\n/v1/checkout/ws")
	u.do("timer\nline\n").n(openWithin)
}

func (u *update) socket() {
	ev := u.ev
	switch ev.Kind {
	case "opened":
		if u.line.state != lineOpening {
			return
		}
		u.turn(lineOpen)
		u.do("timer\nline\n-1")
		u.do(`send
{"type":"hello","token":`).q(u.o.Token).w(`,"revision":`).n(u.session.Revision).w("}")
	case "frame":
		if u.line.state == lineOpen {
			u.line.fails = 0
			if ev.Body.Get("type").String() == "session" {
				u.take(ev.Body.Get("session"))
			}
		}
	case "closed":
		if u.line.state == lineOpening || u.line.state == lineOpen {
			u.closed(ev.Code)
		}
	case "hidden":
		if u.line.hidden == 0 {
			u.line.hidden = max(ev.Now, 1)
		}
	case "visible":
		long := u.line.hidden != 0 && ev.Now-u.line.hidden > awayLong
		u.line.hidden = 0
		if long || u.line.state == lineOff {
			u.again()
		}
	case "online", "show":
		u.line.hidden = 0
		u.again()
	}
}

// again starts afresh with a socket, whatever there was.
func (u *update) again() {
	if u.line.stopped || u.line.state == lineOpening {
		return
	}
	if u.line.state == lineOpen {
		u.do("hang")
	}
	u.line.fails = 0
	u.connect()
}

func (u *update) closed(code int) {
	if u.line.state == lineOpen && u.ev.Now-u.line.since >= steadyAfter {
		u.line.fails = 0
	}
	u.turn(lineOff)
	u.do("timer\nline\n-1")
	switch {
	case code == 4501:
		u.ended(401, "")
	case code == 4502:
		u.ended(401, "token_expired")
	case code == 4503:
		u.line.stopped = true
		u.fail(CodeOrigin, "e.access", false, "")
	case code == 4500:
		u.poll()
	case code > 4500 && code < 5000:
		u.line.stopped = true
	default:
		u.line.fails++
		if u.line.fails >= maxFails {
			u.poll()
			return
		}
		u.wait()
	}
}

// wait comes back after a while: full jitter, so that many pages do not come at once.
func (u *update) wait() {
	top := backoffMost
	if u.line.fails < 5 {
		top = backoffFirst << u.line.fails
	}
	u.do("timer\nline\n").n(int64(100 + u.ev.Random%top))
}

func (u *update) lineTimer() {
	switch u.line.state {
	case lineOpening:
		u.do("hang")
		u.closed(1006)
	case lineOff:
		if u.line.fails >= maxFails {
			u.poll()
		} else {
			u.connect()
		}
	}
}

func (u *update) updates(name, wait string) {
	u.do("fetch\n").w(name).w("\nGET\n/v1/checkout/updates?revision=").n(u.session.Revision).w("&wait=").w(wait)
}

func (u *update) poll() {
	if u.line.stopped {
		return
	}
	u.turn(linePolling)
	u.updates("poll", "25")
}

// ask is the question of a page that has heard nothing for a while; the BFF then asks
// WZRDPAY.
func (u *update) ask() { u.updates("check", "1") }

// polled takes the answer to a poll or a question.
func (u *update) polled() {
	ev := u.ev
	news := false
	if ev.Code == 200 {
		v := ev.Body
		if s := v.Get("session"); !s.IsNull() {
			v = s
		}
		news = u.take(v)
	}
	if ev.Name != "poll" || u.line.state != linePolling {
		return
	}
	switch {
	case ev.Code == 401 || ev.Code == 403 || ev.Code == 404:
		u.turn(lineOff)
		u.ended(ev.Code, ev.Body.Get("code").String())
	case news || ev.Code == 204 && ev.Now-u.line.since >= 1000: // an answer at once, without news, must not become a busy loop
		u.line.fails = maxFails
		u.poll()
	default:
		u.turn(lineOff)
		u.line.fails++
		u.wait()
	}
}
