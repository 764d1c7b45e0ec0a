package callback

// ReadMode gives what a body says of its mode, "" = nothing.
func ReadMode(body []byte) (mode string, ok bool) {
	m, ok := readMode(body)
	return [...]string{"", modeTest, modeLive}[m], ok
}
