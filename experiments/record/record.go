// Package record describes runs.jsonl: what a campaign measured, one JSON
// object a line, each line fsynced. The first line is a Header; the others are
// Requests, Segments and Trials in the order in which they ended. All that
// comes after, reports above all, is a function of such files: this package knows nothing of the engine.
//
// Version 1 files parse for ever: fields are added, never renamed or removed.
package record

// Version is the format that this program writes.
const Version = 1

// The "type" of a line.
const (
	TypeHeader  = "header"
	TypeRequest = "request"
	TypeSegment = "segment"
	TypeTrial   = "trial"
)

// A Header is the first line: what the campaign set out to do.
type Header struct {
	Type       string     `json:"type"` // TypeHeader
	Version    int        `json:"version"`
	Tool       string     `json:"tool"`       // "coordbench 0.1.0 (1a2b3c4)"
	Experiment string     `json:"experiment"` // its name
	ConfigHash string     `json:"config_hash"`
	Config     string     `json:"config"`  // the experiment as YAML, --set applied
	Started    string     `json:"started"` // RFC 3339, UTC
	Seed       uint64     `json:"seed"`    // of the trial order
	Baseline   string     `json:"baseline"`
	Systems    []string   `json:"systems"`   // row order of reports
	Workloads  []string   `json:"workloads"` // likewise
	Devices    []string   `json:"devices"`
	Ablations  []Ablation `json:"ablations,omitempty"`
	Trials     int        `json:"trials"` // how many trials the plan holds
}

// An Ablation names the rows of an additive and a leave-one-out comparison.
type Ablation struct {
	Name string `json:"name"` // "coordgen"
	Full string `json:"full"` // the row with everything on
	// Additive starts at the base and turns one part on at a time, ending at Full.
	Additive []Variant `json:"additive"`
	// LeaveOneOut holds Full without one part each.
	LeaveOneOut []Variant `json:"leave_one_out"`
}

// A Variant is a system row of an ablation and the part by which it differs.
type Variant struct {
	System string `json:"system"` // the row's name
	Part   string `json:"part"`   // "calibration"; "" for the base
}

// Key says which trial a line belongs to.
type Key struct {
	Trial    string `json:"trial"` // id, unique in the file
	Device   string `json:"device"`
	Model    string `json:"model"`
	Workload string `json:"workload"`
	System   string `json:"system"`
	Repeat   int    `json:"repeat"` // block of the randomised complete block design, from 0
}

// A Request is one prompt answered.
type Request struct {
	Type string `json:"type"` // TypeRequest
	Key
	Prompt       string `json:"prompt"` // id within the workload
	Group        string `json:"group,omitempty"`
	Index        int    `json:"index"`   // position within the trial, warm-up included
	Segment      int    `json:"segment"` // which Segment of the trial measured it
	Warmup       bool   `json:"warmup,omitempty"`
	Seed         uint64 `json:"seed"`
	PromptTokens int    `json:"prompt_tokens"`
	// PromptDigest is the sha256 of the prompt's token ids as little-endian int32.
	PromptDigest string  `json:"prompt_digest"`
	Output       []int32 `json:"output"` // token ids, the stop token included
	Reason       string  `json:"reason"` // decode.StopReason: "stop", "length", "context"
	// StartNS and EndNS are on the trial's clock, as are the steps' times: nanoseconds since the trial began.
	StartNS  int64    `json:"start_ns"`
	EndNS    int64    `json:"end_ns"`
	Steps    []Step   `json:"steps"`
	Error    string   `json:"error,omitempty"` // the request failed; Output holds what came before
	Warnings []string `json:"warnings,omitempty"`
}

// A Step is one decode.Step with the time at which it was handed over.
type Step struct {
	NS       int64    `json:"ns"`                 // on the trial's clock
	Tokens   int      `json:"tokens"`             // emitted
	Prefill  bool     `json:"prefill,omitempty"`  // the step that emitted the first token
	Width    int      `json:"width"`              // rows computed
	Depth    int      `json:"depth,omitempty"`    // longest branch drafted
	Drafted  Counts   `json:"drafted,omitempty"`  // nodes by origin
	Accepted []string `json:"accepted,omitempty"` // origin of each accepted node, root to leaf
}

// Counts holds numbers of draft nodes by the name of their origin.
type Counts map[string]int

// A Segment is a run of consecutive requests measured as one energy window.
type Segment struct {
	Type string `json:"type"` // TypeSegment
	Key
	Segment   int   `json:"segment"`
	Requests  int   `json:"requests"` // warm-up excluded
	StartNS   int64 `json:"start_ns"`
	EndNS     int64 `json:"end_ns"`
	PeakBytes int64 `json:"peak_bytes"` // most resident memory of the measuring process within the segment
	// PeakWhole says that PeakBytes covers the process's life: the system cannot reset its high-water mark.
	PeakWhole bool     `json:"peak_whole,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
}

// The Status of a Trial.
const (
	StatusOK     = "ok"
	StatusFailed = "failed"
)

// A Trial closes a trial: every line of it stands above.
type Trial struct {
	Type string `json:"type"` // TypeTrial
	Key
	Status         string   `json:"status"`
	Error          string   `json:"error,omitempty"`
	Identity       Identity `json:"identity"`
	WorkloadDigest string   `json:"workload_digest"`
	Facts          Facts    `json:"facts"`
	LoadNS         int64    `json:"load_ns"`             // opening the system, model load included
	Simulated      bool     `json:"simulated,omitempty"` // times do not come from a clock of the real world
	Resumed        int      `json:"resumed,omitempty"`   // how often the trial went on after a crash
	Warnings       []string `json:"warnings,omitempty"`
}

// Facts describe a device as the trial found it.
type Facts struct {
	OS      string `json:"os"`  // "linux/amd64"
	CPU     string `json:"cpu"` // "AMD EPYC"
	Cores   int    `json:"cores"`
	Threads int    `json:"threads"` // used by the trial
	Memory  int64  `json:"memory"`  // bytes
	Kernel  string `json:"kernel,omitempty"`
}

// Identity says which program produced an output; it is decode.Identity.
type Identity struct {
	Name        string            `json:"name"`
	Model       string            `json:"model"`
	ModelDigest string            `json:"model_digest"`
	Draft       string            `json:"draft,omitempty"`
	DraftDigest string            `json:"draft_digest,omitempty"`
	Backend     string            `json:"backend"`
	Options     map[string]string `json:"options,omitempty"`
	Exact       bool              `json:"exact"`
}
