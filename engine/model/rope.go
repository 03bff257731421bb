package model

import (
	"fmt"
	"math"
)

// frequencies returns the radians per position that each of a head's HeadDim/2
// pairs turns: RopeScale·RopeBase^(-2i/HeadDim), divided by factors[i] where the
// file has factors (Llama 3's stretch of the slow pairs, computed when the file
// was made; llama.cpp: rope_freqs.weight).
func frequencies(c Config, factors []float32) ([]float64, error) {
	f := make([]float64, c.HeadDim/2)
	for i := range f {
		f[i] = c.RopeScale * math.Pow(c.RopeBase, -2*float64(i)/float64(c.HeadDim))
		if factors == nil {
			continue
		}
		if d := float64(factors[i]); d > 0 && !math.IsInf(d, 0) {
			f[i] /= d
		} else {
			return nil, fmt.Errorf("tensor \"rope_freqs.weight\": factor %d is %g; expected more than 0", i, d)
		}
	}
	return f, nil
}

// A rotation holds the cosines and sines of all positions of a context, so that
// each is computed once in the context's life. Rows are filled as positions are
// first reached.
type rotation struct {
	freqs    []float64
	cos, sin []float32 // (Context, HeadDim/2)
	filled   int
}

func newRotation(freqs []float64, positions int) *rotation {
	n := len(freqs) * positions
	return &rotation{freqs: freqs, cos: make([]float32, n), sin: make([]float32, n)}
}

// reach fills the rows of positions below n.
func (r *rotation) reach(n int) {
	for ; r.filled < n; r.filled++ {
		at := r.filled * len(r.freqs)
		for i, f := range r.freqs {
			sin, cos := math.Sincos(float64(r.filled) * f)
			r.cos[at+i], r.sin[at+i] = float32(cos), float32(sin)
		}
	}
}

// at returns the cosines and sines of position p.
func (r *rotation) at(p int) (cos, sin []float32) {
	n := len(r.freqs)
	return r.cos[p*n : (p+1)*n], r.sin[p*n : (p+1)*n]
}
