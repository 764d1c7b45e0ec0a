package metrics

import (
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
)

var described = regexp.MustCompile(`fqName: "([^"]+)"`)

// Names gives the names of all instruments, used or not. Those of the runtime and the
// process are described by their collectors only in part, so what is gathered counts too.
func Names(r *Registry) (map[string]bool, error) {
	names := map[string]bool{}
	found := make(chan *prometheus.Desc)
	go func() {
		r.registry.Describe(found)
		close(found)
	}()
	for d := range found {
		for _, m := range described.FindAllStringSubmatch(d.String(), -1) {
			names[m[1]] = true
		}
	}
	families, err := r.registry.Gather()
	for _, f := range families {
		names[f.GetName()] = true
	}
	return names, err
}
