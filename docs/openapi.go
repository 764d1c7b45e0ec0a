// Package docs owns the written documents; it embeds the one that the BFF serves.
package docs

import _ "embed" // the document

// OpenAPI is the OpenAPI 3.1 document of both planes, as JSON. internal/httpapi is
// tested against it.
//
//go:embed openapi.json
var OpenAPI []byte
