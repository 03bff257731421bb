package plan

import (
	"fmt"
	"time"

	"github.com/coordbench/coordbench/experiments/record"
)

// An Estimate says how long a plan may take, and on what that rests.
type Estimate struct {
	Time  time.Duration
	Basis string
}

// Assumptions of an estimate without an earlier run. They are round numbers for
// a laptop, not measurements.
const (
	assumedBytesPerS    = 20e9                   // weights read per second, once per token
	assumedPrefillGain  = 20                     // prompt tokens cost this many times less
	assumedCharsPerTok  = 4                      // of a prompt
	assumedTrialStartup = 100 * time.Millisecond // starting an agent and loading a model
)

// FromRun estimates p from the requests of an earlier run: each of p's requests
// is taken to last as long as the run's did on average for the same workload and
// system, or else the same workload, or else any.
func (p *Plan) FromRun(l *record.Log) (Estimate, bool) {
	type mean struct {
		sum int64
		n   int64
	}
	add := func(m map[string]mean, k string, ns int64) {
		v := m[k]
		m[k] = mean{v.sum + ns, v.n + 1}
	}
	times, loads := map[string]mean{}, map[string]mean{}
	for _, q := range l.Requests {
		if q.Error == "" && q.EndNS > q.StartNS {
			for _, k := range []string{q.Model + "\x00" + q.Workload + "\x00" + q.System, q.Model + "\x00" + q.Workload, ""} {
				add(times, k, q.EndNS-q.StartNS)
			}
		}
	}
	for _, t := range l.Trials {
		if t.Status == record.StatusOK {
			add(loads, "", t.LoadNS)
		}
	}
	if times[""].n == 0 {
		return Estimate{}, false
	}
	var total time.Duration
	for _, t := range p.Trials {
		for _, k := range []string{t.Model.Name + "\x00" + t.Workload + "\x00" + t.System.Name, t.Model.Name + "\x00" + t.Workload, ""} {
			if m := times[k]; m.n > 0 {
				total += time.Duration(len(t.Prompts)) * time.Duration(m.sum/m.n)
				break
			}
		}
		total += assumedTrialStartup
		if m := loads[""]; m.n > 0 {
			total += time.Duration(m.sum / m.n)
		}
	}
	return Estimate{total, fmt.Sprintf("from the %d requests of the run of %s", len(l.Requests), l.Header.Started)}, true
}

// FromSizes estimates p from nothing but the size in bytes of its model files,
// by name: an upper bound under stated assumptions, since every answer is taken
// to be as long as it may be and no system to be faster than autoregressive.
func (p *Plan) FromSizes(bytes map[string]int64) Estimate {
	var total time.Duration
	for _, t := range p.Trials {
		perToken := time.Duration(float64(bytes[t.Model.Name]) / assumedBytesPerS * float64(time.Second))
		total += assumedTrialStartup
		for _, q := range t.Prompts {
			chars := 0
			for _, m := range q.Messages {
				chars += len(m.Content)
			}
			total += perToken * time.Duration(q.MaxTokens)
			total += perToken * time.Duration(chars/assumedCharsPerTok) / assumedPrefillGain
		}
	}
	return Estimate{total, fmt.Sprintf("no earlier run to go by; assumed: %g GB of weights read a second and token, prompts %d times faster, answers of full length",
		assumedBytesPerS/1e9, assumedPrefillGain)}
}
