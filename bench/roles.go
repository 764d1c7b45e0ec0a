package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// roleVariable makes the bench binary one of its own peers or a part of its load: so a
// peer runs as a process like bff does.
const roleVariable = "WZRDCHECKOUT_BENCH_ROLE"

func play(role string) error {
	switch role {
	case "answer":
		return playAnswer()
	case "append":
		return playAppend()
	case "sockets":
		return playSockets()
	}
	return fmt.Errorf("no role %q", role)
}

// actor is a process that plays a role: it says its address, then does what it is told,
// a JSON value a line each way.
type actor struct {
	cmd  *exec.Cmd
	in   *json.Encoder
	pipe io.Closer
	out  *bufio.Scanner
	addr string
}

func act(role string, setting any) (*actor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	cmd := exec.Command(self) //nolint:gosec,noctx // this very program; it ends with its input
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return direct(cmd, role, setting)
}

func direct(cmd *exec.Cmd, role string, setting any) (*actor, error) {
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	a := &actor{cmd: cmd, in: json.NewEncoder(in), pipe: in, out: bufio.NewScanner(out)}
	a.out.Buffer(make([]byte, 1<<16), 1<<26)
	if err := a.ask(setting, &a.addr); err != nil {
		a.end()
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return a, nil
}

// order is ask for as long as ctx lasts; then the process is ended.
func (a *actor) order(ctx context.Context, question, answer any) error {
	stop := context.AfterFunc(ctx, func() { _ = a.cmd.Process.Kill() })
	defer stop()
	return errors.Join(a.ask(question, answer), ctx.Err())
}

// ask sends a value and reads the answer.
func (a *actor) ask(question, answer any) error {
	if err := a.in.Encode(question); err != nil {
		return err
	}
	if !a.out.Scan() {
		return errors.Join(errors.New("it ended"), a.out.Err())
	}
	text := a.out.Bytes()
	var failed struct {
		Failed string `json:"failed"`
	}
	if json.Unmarshal(text, &failed) == nil && failed.Failed != "" {
		return errors.New(failed.Failed)
	}
	return json.Unmarshal(text, answer)
}

func (a *actor) pid() int { return a.cmd.Process.Pid }

// end closes the input, at which a role ends.
func (a *actor) end() {
	_ = a.pipe.Close()
	done := make(chan struct{})
	go func() {
		_ = a.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		_ = a.cmd.Process.Kill()
		<-done
	}
}

// stage is a role's side of the talk.
type stage struct {
	in  *json.Decoder
	out *json.Encoder
}

func newStage() stage { return stage{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)} }

func (s stage) failed(err error) error {
	return s.out.Encode(map[string]string{"failed": err.Error()})
}

// answerSetting is what a bare handler answers.
type answerSetting struct {
	Header map[string][]string `json:"header"`
	Body   string              `json:"body"`
}

// playAnswer is the limit of an HTTP answer: net/http and a handler that copies bytes.
func playAnswer() error {
	s := newStage()
	var setting answerSetting
	if err := s.in.Decode(&setting); err != nil {
		return err
	}
	body := []byte(setting.Body)
	return serve(s, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for name, values := range setting.Header {
			h[name] = values
		}
		_, _ = w.Write(body)
	}))
}

// serve answers on a free port until the input ends.
func serve(s stage, handler http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local and at once
	if err != nil {
		return s.failed(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	if err := s.out.Encode(l.Addr().String()); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return server.Close()
}

// appendSetting is where the append loop writes.
type appendSetting struct {
	Dir string `json:"dir"`
}

// playAppend is the limit of a durable intake: one writer that appends whatever waits to
// one file, syncs it, and only then answers; behind a bare net/http handler.
func playAppend() error {
	s := newStage()
	var setting appendSetting
	if err := s.in.Decode(&setting); err != nil {
		return err
	}
	log, err := newAppendLog(setting.Dir)
	if err != nil {
		return s.failed(err)
	}
	defer log.close()
	return serve(s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err == nil {
			err = log.append(body)
		}
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(`{"status":"stored"}`))
	}))
}

// appendLog is a group commit in its plainest form.
type appendLog struct {
	f       *os.File
	waiting chan appended
	writer  sync.WaitGroup
}

type appended struct {
	record []byte
	done   chan error
}

func newAppendLog(dir string) (*appendLog, error) {
	f, err := os.Create(filepath.Join(dir, "append.log"))
	if err != nil {
		return nil, fmt.Errorf("make append log: %w", err)
	}
	l := &appendLog{f: f, waiting: make(chan appended, 1024)}
	l.writer.Go(l.write)
	return l, nil
}

func (l *appendLog) write() {
	var batch []appended
	var text []byte
	for first := range l.waiting {
		batch, text = append(batch[:0], first), append(text[:0], first.record...)
	more:
		for len(batch) < 256 {
			select {
			case next, ok := <-l.waiting:
				if !ok {
					break more
				}
				batch, text = append(batch, next), append(text, next.record...)
			default:
				break more
			}
		}
		_, err := l.f.Write(text)
		if err == nil {
			err = syncData(l.f)
		}
		for _, a := range batch {
			a.done <- err
		}
	}
}

// append returns when the record is on the disk.
func (l *appendLog) append(record []byte) error {
	a := appended{record, make(chan error, 1)}
	l.waiting <- a
	return <-a.done
}

func (l *appendLog) close() {
	close(l.waiting)
	l.writer.Wait()
	_ = l.f.Close()
	_ = os.Remove(l.f.Name())
}

// fed is how many records per second senders in this process get appended.
func (l *appendLog) fed(ctx context.Context, senders int, span time.Duration, record []byte) (float64, error) {
	var all sync.WaitGroup
	counts, wrong := make([]int, senders), make([]error, senders)
	began := time.Now()
	end := began.Add(span)
	for i := range senders {
		all.Go(func() {
			for ctx.Err() == nil && time.Now().Before(end) {
				if wrong[i] = l.append(record); wrong[i] != nil {
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	n := 0
	for _, c := range counts {
		n += c
	}
	return float64(n) / time.Since(began).Seconds(), errors.Join(errors.Join(wrong...), ctx.Err())
}

// built compiles a peer that is a module of its own and gives the binary.
func (b *bench) built(ctx context.Context, dir string) (string, error) {
	out := filepath.Join(b.cache, strings.ReplaceAll(dir, "/", "-"))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, ".") //nolint:gosec // the go command
	cmd.Dir = filepath.Join("bench", dir)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build bench/%s: %w: %.300s", dir, err, text)
	}
	return out, nil
}
