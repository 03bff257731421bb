package ngram

import "github.com/coordbench/coordbench/engine/decode"

// ModOptions are those of ngram-mod.
type ModOptions struct {
	N     int     // tokens hashed
	Min   int     // a shorter draft is dropped
	Max   int     // longest draft
	Size  int     // entries of the table
	Low   float64 // a draft accepted below this share counts against the table
	Times int     // that many in a row wipe it
	Keep  bool    // keep the table over requests, as llama.cpp's server does
}

// ModDefaults are llama.cpp's: a table of 4 Mi entries (16 MB). Its longest
// draft, 64 tokens, is one more than a draft tree holds below its root.
func ModDefaults() ModOptions {
	return ModOptions{N: 24, Min: 48, Max: decode.MaxNodes - 1, Size: 4 << 20, Low: 0.5, Times: 3}
}

// NewMod returns ngram-mod: a hash table from the last N tokens to the token
// that followed them last time, iterated. Collisions are not detected; they
// cost a rejected draft. With Keep, what is drafted depends on the requests before.
func NewMod(o ModOptions) *Source {
	m := &mod{ModOptions: o, table: make([]decode.Token, o.Size)}
	for i := range m.table {
		m.table[i] = decode.Separator
	}
	return &Source{rule: m}
}

type mod struct {
	ModOptions
	table   []decode.Token // empty is decode.Separator
	used    []int          // slots that hold a token
	hist    []decode.Token // the request's, to feed a wiped table again
	drafted int
	bad     int
}

func (m *mod) wipe() {
	for _, i := range m.used {
		m.table[i] = decode.Separator
	}
	m.used = m.used[:0]
}

// slot hashes N tokens with the multiplier of a linear congruential generator.
func (m *mod) slot(gram []decode.Token) int {
	var h uint64
	for _, tok := range gram {
		h = h*6364136223846793005 + uint64(tok)
	}
	return int(h % uint64(len(m.table)))
}

func (m *mod) begin(prompt []decode.Token) {
	m.bad, m.drafted = 0, 0
	if !m.Keep {
		m.wipe()
	}
	m.hist = prompt
	m.feed(0)
}

// feed enters the n-grams whose successor is at position from or later.
func (m *mod) feed(from int) {
	for i := max(from, m.N); i < len(m.hist); i++ {
		slot := m.slot(m.hist[i-m.N : i])
		if m.table[slot] == decode.Separator {
			m.used = append(m.used, slot)
		}
		m.table[slot] = m.hist[i]
	}
}

func (m *mod) extend(hist []decode.Token, n int) {
	m.hist = hist
	m.feed(len(hist) - n)
}

func (m *mod) accepted(n int) {
	if float64(n) >= m.Low*float64(m.drafted) {
		m.bad = 0
		return
	}
	if m.bad++; m.bad == m.Times {
		m.bad = 0
		m.wipe()
		m.feed(0)
	}
}

func (m *mod) draft(dst, hist []decode.Token) []decode.Token {
	m.drafted = 0
	if len(hist) < m.N {
		return dst
	}
	gram := append(make([]decode.Token, 0, m.N+m.Max), hist[len(hist)-m.N:]...)
	for range m.Max {
		next := m.table[m.slot(gram[len(gram)-m.N:])]
		if next == decode.Separator {
			break
		}
		gram = append(gram, next)
	}
	if len(gram)-m.N < m.Min {
		return dst
	}
	m.drafted = len(gram) - m.N
	return append(dst, gram[m.N:]...)
}
