package widget

// English and Resolutions let the test of the texts see what only the package does.
const (
	English     = english
	Resolutions = resolutions
)
