package ops

// Tiles are the metrics that the first page shows.
func Tiles() []string {
	var names []string
	for _, t := range tiles {
		names = append(names, t.Metric)
	}
	return names
}
