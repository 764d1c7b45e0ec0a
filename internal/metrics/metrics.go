// Package metrics owns the Prometheus registry and every instrument in it. It is the only
// package that imports prometheus/client_golang. Each part of the program has its own set
// of instruments here, shaped as the Observer interface that the part declares; app joins
// them. Labels hold closed sets of words and never an id, an address or a value.
package metrics

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "wzrdcheckout"

// Registry holds all instruments. Its members satisfy the Observer interfaces of the
// packages they are named for.
type Registry struct {
	Wzrd     *Wzrd
	Session  *Session
	Callback *Callback
	Push     *Push
	Webhook  *Webhook
	HTTP     *HTTP

	registry *prometheus.Registry
}

// New makes the registry of a program of the given version ("" = "dev").
func New(version string) *Registry {
	if version == "" {
		version = "dev"
	}
	r := &Registry{registry: prometheus.NewRegistry()}
	r.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m := maker{r.registry}
	m.gauge("build", "info", "Version of the program; always 1.", "version", "go").WithLabelValues(version, runtime.Version()).Set(1)
	r.Wzrd = newWzrd(m)
	r.Session = newSession(m)
	r.Callback = newCallback(m)
	r.Push = newPush(m)
	r.Webhook = newWebhook(m)
	r.HTTP = newHTTP(m)
	return r
}

// Handler serves the metrics in Prometheus' text formats.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{
		Registry: r.registry, MaxRequestsInFlight: 4, Timeout: 10 * time.Second, EnableOpenMetrics: true,
	})
}

// Gather gives the present values of our own instruments by name, summed over their
// labels, and by name{label="value",…} for each of them; of a histogram the number of
// observations. It is what the operators' page shows.
func (r *Registry) Gather() (map[string]float64, error) {
	families, err := r.registry.Gather()
	values := map[string]float64{}
	for _, family := range families {
		name := family.GetName()
		if len(name) <= len(namespace) || name[:len(namespace)] != namespace {
			continue
		}
		for _, metric := range family.GetMetric() {
			var value float64
			switch {
			case metric.GetCounter() != nil:
				value = metric.GetCounter().GetValue()
			case metric.GetGauge() != nil:
				value = metric.GetGauge().GetValue()
			case metric.GetHistogram() != nil:
				value = float64(metric.GetHistogram().GetSampleCount())
			}
			values[name] += value
			labels := ""
			for _, label := range metric.GetLabel() {
				if labels != "" {
					labels += ","
				}
				labels += label.GetName() + "=" + strconv.Quote(label.GetValue())
			}
			if labels != "" {
				values[name+"{"+labels+"}"] += value
			}
		}
	}
	return values, err
}

// StoreStats are the store's counters; broker.Stats has the same members, so the one
// converts to the other.
type StoreStats struct {
	Queued                 int
	Commits, Groups        uint64
	Conflicts, Retries     uint64
	CacheHits, CacheMisses uint64
	CacheBytes             int64
	Changes, Gaps          uint64
}

// Store shows what read gives whenever the metrics are asked for. Call it once.
func (r *Registry) Store(read func() StoreStats) {
	m := maker{r.registry}
	m.storeGauge("queue", "Commits that wait to be stored.", func() float64 { return float64(read().Queued) })
	m.storeCounter("commits_total", "Commits stored.", func() float64 { return float64(read().Commits) })
	m.storeCounter("groups_total", "Batches that the commits took.", func() float64 { return float64(read().Groups) })
	m.storeCounter("conflicts_total", "Commits refused because what they were based on had changed.", func() float64 { return float64(read().Conflicts) })
	m.storeCounter("retries_total", "Tries to store a batch that had to be repeated.", func() float64 { return float64(read().Retries) })
	m.storeCounter("cache_hits_total", "Reads answered from memory.", func() float64 { return float64(read().CacheHits) })
	m.storeCounter("cache_misses_total", "Reads that went to the engine.", func() float64 { return float64(read().CacheMisses) })
	m.storeGauge("cache_bytes", "Size of the cache.", func() float64 { return float64(read().CacheBytes) })
	m.storeCounter("changes_total", "Changes handed to those who watch.", func() float64 { return float64(read().Changes) })
	m.storeCounter("gaps_total", "Times when changes had to be fetched after a gap.", func() float64 { return float64(read().Gaps) })
}

// maker registers instruments; a mistake in a name is a panic at start.
type maker struct{ to *prometheus.Registry }

func (m maker) counter(subsystem, name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	m.to.MustRegister(c)
	return c
}

func (m maker) gauge(subsystem, name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
	m.to.MustRegister(g)
	return g
}

func (m maker) histogram(subsystem, name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help, Buckets: buckets}, labels)
	m.to.MustRegister(h)
	return h
}

func (m maker) storeGauge(name, help string, read func() float64) {
	m.to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Subsystem: "store", Name: name, Help: help}, read))
}

func (m maker) storeCounter(name, help string, read func() float64) {
	m.to.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Subsystem: "store", Name: name, Help: help}, read))
}

// zero makes a counter's series exist before anything happened: the first of something bad
// is then an increase and not a new series, which increase() does not see.
func zero(c *prometheus.CounterVec, words ...string) {
	for _, word := range words {
		c.WithLabelValues(word)
	}
}

// Buckets in seconds: ours are short, WZRDPAY's and the shop's are a network away.
var (
	shortBuckets  = []float64{.0005, .001, .002, .004, .008, .016, .032, .064, .125, .25, .5, 1, 2.5, 5}
	callBuckets   = []float64{.025, .05, .1, .2, .4, .8, 1.5, 3, 6, 10, 15, 25}
	arriveBuckets = []float64{.1, .5, 1, 5, 10, 60, 300, 1800, 3600, 6 * 3600, 24 * 3600, 72 * 3600}
)
