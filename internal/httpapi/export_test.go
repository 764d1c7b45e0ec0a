package httpapi

// Routes lists the patterns of both planes.
func (a *API) Routes() (public, private []string) {
	for _, r := range a.publicRoutes {
		public = append(public, r.pattern)
	}
	for _, r := range a.privateRoutes {
		private = append(private, r.pattern)
	}
	return public, private
}
