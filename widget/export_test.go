package widget

// What the tests see of the package beside its API.
var (
	ParseTree = func(text string) *Node { return parseTree(text, nil) }
	Reason    = reason
	Keyboard  = keyboard
	Written   = written
	Codes     = []string{
		CodeNetwork, CodeLoad, CodeToken, CodeEnded, CodeOrigin, CodeNoMethods, CodeRequired, CodeField,
		CodeService, CodeBusy, CodeLimited, CodePayment, CodeRedirect, CodeOption, CodeWidget,
	}
)

// Drawn is the tree that the Host believes stands in the document of its i-th widget.
func (h *Host) Drawn(i int) *Node { return h.widgets[i].tree }
