// Package plan turns an experiment into trials. A Trial is the one vocabulary
// between the experiment file, the command line and the agent.
package plan

// A Trial is what a device is asked to measure: one system × workload × repeat.
// It goes to the agent as JSON.
type Trial struct {
	ID       string `json:"id"`     // stable for a configuration; names the journal
	Device   string `json:"device"` // "local"
	Model    Model  `json:"model"`
	Workload string `json:"workload"`        // name
	Digest   string `json:"workload_digest"` // of the whole set
	System   System `json:"system"`
	Repeat   int    `json:"repeat"`
	// Prompts holds the requests in order, warm-up first.
	Prompts  []Prompt `json:"prompts"`
	Warmup   int      `json:"warmup"`  // the first so many prompts are not measured
	Segment  int      `json:"segment"` // requests per segment; 0 is all of them
	Sampling Sampling `json:"sampling"`
	Threads  int      `json:"threads"` // 0 is all cores
	Context  int      `json:"context"` // tokens; 0 is what the longest prompt needs
	KV       string   `json:"kv"`      // "f16" or "f32"
}

// A Model names files; on a device they lie where the campaign put them.
type Model struct {
	Name  string `json:"name"`
	File  string `json:"file"`
	Draft string `json:"draft,omitempty"` // a draft model's file
}

// A System is a row of the report: a system of the baselines list with options.
type System struct {
	Name    string            `json:"name"`   // the row's name
	System  string            `json:"system"` // its name in baselines
	Options map[string]string `json:"options,omitempty"`
}

// A Prompt is one request.
type Prompt struct {
	ID        string    `json:"id"`
	Group     string    `json:"group,omitempty"`
	Messages  []Message `json:"messages"`
	MaxTokens int       `json:"max_tokens"`
}

// A Message is one turn of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Sampling is decode.Sampling.
type Sampling struct {
	Temperature float64 `json:"temperature"`
	TopK        int     `json:"top_k,omitempty"`
	TopP        float64 `json:"top_p,omitempty"`
	MinP        float64 `json:"min_p,omitempty"`
	Seed        uint64  `json:"seed"`
}
