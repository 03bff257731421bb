package yamlspec

// JSONSchema is t as a JSON Schema (draft 2020-12), ready for encoding/json.
func JSONSchema(t *Type, id, title string) map[string]any {
	m := schema(t)
	m["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	m["$id"] = id
	m["title"] = title
	return m
}

func schema(t *Type) map[string]any {
	m := map[string]any{}
	switch t.Kind {
	case Object:
		props := map[string]any{}
		var required []string
		for _, f := range t.Fields {
			props[f.Name] = schema(f.Type)
			if f.Required {
				required = append(required, f.Name)
			}
		}
		m["type"] = "object"
		m["properties"] = props
		m["additionalProperties"] = false
		if required != nil {
			m["required"] = required
		}
		if t.Short != "" {
			for _, f := range t.Fields {
				if f.Name == t.Short {
					m = map[string]any{"anyOf": []any{schema(f.Type), m}}
				}
			}
		}
	case Map:
		m["type"] = "object"
		m["additionalProperties"] = schema(t.Elem)
	case List:
		m["type"] = "array"
		m["items"] = schema(t.Elem)
		if t.Min != nil {
			m["minItems"] = int(*t.Min)
		}
	case String:
		m["type"] = "string"
		if t.Min != nil {
			m["minLength"] = int(*t.Min)
		}
		if len(t.Enum) > 0 {
			m["enum"] = t.Enum
		}
		if t.Pattern != nil {
			m["pattern"] = t.Pattern.String()
		}
	case Int, Number:
		m["type"] = "number"
		if t.Kind == Int {
			m["type"] = "integer"
		}
		if t.Min != nil {
			m["minimum"] = *t.Min
		}
		if t.Max != nil {
			m["maximum"] = *t.Max
		}
	case Bool:
		m["type"] = "boolean"
	case Duration:
		m["type"] = "string"
		m["pattern"] = durationPattern
	case Scalar:
		m["type"] = []string{"string", "number", "boolean"}
	}
	if t.Doc != "" {
		m["description"] = t.Doc
	}
	if t.Default != nil {
		m["default"] = t.Default
	}
	return m
}
