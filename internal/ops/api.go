package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"wzrdcheckout/internal/checkout"
	"wzrdcheckout/internal/markup"
)

// openAPI is what the page shows of an OpenAPI 3.1 document.
type openAPI struct {
	Info struct {
		Title, Version, Summary, Description string
	}
	Tags       []struct{ Name, Description string }
	Paths      map[string]map[string]operation
	Components struct{ Schemas map[string]schema }
}

type operation struct {
	Summary    string
	Tags       []string
	Servers    []struct{ URL string }
	Security   []map[string][]string
	Parameters []struct {
		Name, In, Description string
		Required              bool
		Schema                schema
	}
	RequestBody struct{ Content content }
	Responses   map[string]struct {
		Description string
		Content     content
	}
}

type content map[string]struct{ Schema schema }

type schema struct {
	Ref         string `json:"$ref"`
	Type        string
	Description string
	Pattern     string
	Enum        []any
	Properties  map[string]schema
	Required    []string
	Items       *schema
	AnyOf       []schema
}

// apiPage is the page of an OpenAPI document, made once: nothing in it changes.
func apiPage(text []byte) (markup.Node, error) {
	var doc openAPI
	if err := json.Unmarshal(text, &doc); err != nil {
		return markup.Node{}, fmt.Errorf("read OpenAPI document: %w", err)
	}
	parts := []markup.Node{
		sentence(doc.Info.Summary + ". " + doc.Info.Description),
		el("p", link("/openapi.json", "openapi.json"), markup.Text(", version "+doc.Info.Version)),
	}
	for _, tag := range doc.Tags {
		parts = append(parts, el("h2", markup.Text(tag.Description)))
		for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
			for _, method := range slices.Sorted(maps.Keys(doc.Paths[path])) {
				if o := doc.Paths[path][method]; slices.Contains(o.Tags, tag.Name) {
					parts = append(parts, operationPart(strings.ToUpper(method)+" "+path, o))
				}
			}
		}
	}
	parts = append(parts, el("h2", markup.Text("Objects")))
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name]
		parts = append(parts, el("section", attr("id", "schema-"+name), el("h3", code(name)),
			markup.When(s.Description != "", quiet(s.Description)), members(s)))
	}
	return group(parts...), nil
}

func operationPart(name string, o operation) markup.Node {
	parts := []markup.Part{el("h3", code(name)), sentence(o.Summary + ".")}
	for _, rule := range o.Security {
		for scheme := range rule {
			parts = append(parts, quiet("Wants the "+strings.ReplaceAll(scheme, "_", " ")+"."))
		}
	}
	if len(o.Parameters) > 0 {
		rows := make([][2]markup.Node, 0, len(o.Parameters))
		for _, p := range o.Parameters {
			said := p.In + ", " + kind(p.Schema)
			if p.Required {
				said += ", required"
			}
			rows = append(rows, [2]markup.Node{code(p.Name), group(markup.Text(said), markup.When(p.Description != "", markup.Text(": "+p.Description)))})
		}
		parts = append(parts, pairs("Parameter", rows))
	}
	var rows [][2]markup.Node
	for _, media := range slices.Sorted(maps.Keys(o.RequestBody.Content)) {
		rows = append(rows, [2]markup.Node{markup.Text("body, " + media), of(o.RequestBody.Content[media].Schema)})
	}
	for _, status := range slices.Sorted(maps.Keys(o.Responses)) {
		answer := o.Responses[status]
		said := []markup.Node{markup.Text(answer.Description)}
		for _, media := range slices.Sorted(maps.Keys(answer.Content)) {
			if ref := answer.Content[media].Schema; ref.Ref != "" {
				said = append(said, markup.Text(": "), of(ref))
			}
		}
		rows = append(rows, [2]markup.Node{code(status), group(said...)})
	}
	parts = append(parts, pairs("", rows))
	return el("section", parts...)
}

func pairs(head string, rows [][2]markup.Node) markup.Node {
	return table([]string{head, ""}, rows, func(r [2]markup.Node) markup.Node { return el("tr", cell(r[0]), cell(r[1])) })
}

// members are the properties of an object.
func members(s schema) markup.Node {
	if len(s.Properties) == 0 {
		return of(s)
	}
	return table([]string{"Member", "Type", ""}, slices.Sorted(maps.Keys(s.Properties)), func(name string) markup.Node {
		m := s.Properties[name]
		said := m.Description
		if slices.Contains(s.Required, name) {
			said = strings.TrimSpace("Always there. " + said)
		}
		return el("tr", cell(code(name)), cell(of(m)), cell(markup.Text(said)))
	})
}

// of names a schema, with a link where it has a part of its own.
func of(s schema) markup.Node {
	switch name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); {
	case ok:
		return link("#schema-"+name, name)
	case s.Items != nil:
		return group(markup.Text("list of "), of(*s.Items))
	case len(s.AnyOf) > 0:
		var either []markup.Node
		for i, one := range s.AnyOf {
			either = append(either, markup.When(i > 0, markup.Text(" or ")), of(one))
		}
		return group(either...)
	}
	return markup.Text(kind(s))
}

// kind is a type in words.
func kind(s schema) string {
	said := s.Type
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = fmt.Sprint(v)
		}
		said += ": " + strings.Join(values, ", ")
	}
	if s.Pattern != "" {
		said += " of the form " + s.Pattern
	}
	return said
}

func (p *panel) api(context.Context, *http.Request) (view, error) {
	if len(p.OpenAPI) == 0 {
		return view{}, fmt.Errorf("open API page: %w", checkout.ErrNotFound)
	}
	return view{title: "API", content: p.apiPage}, nil
}
