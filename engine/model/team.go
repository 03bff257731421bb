package model

import (
	"sync/atomic"

	"github.com/coordbench/coordbench/engine/kernels"
)

// A turn hands out the units of one stage: 0, 1, 2, …, each once. It fills a
// cache line, so that workers at different stages do not disturb each other.
type turn struct {
	n atomic.Int64
	_ [56]byte
}

func (t *turn) next() int { return int(t.n.Add(1) - 1) }

// A barrier holds the workers of a parallel region until all have come. It costs
// a fraction of what ending the region and starting another would.
type barrier struct {
	arrived atomic.Int64
	_       [56]byte
	passed  atomic.Int64
	broken  atomic.Bool
	_       [48]byte
}

// spins is how often a waiting worker looks before it lets the system run
// something else on its processor: about 200 µs. Less would give a processor that
// others want to them, for a whole time slice, at every barrier; never to yield
// would do the same wherever two workers share one.
const spins = 1 << 17

func (b *barrier) wait(workers int) {
	if workers == 1 {
		return
	}
	passed := b.passed.Load()
	if b.arrived.Add(1) == int64(workers) {
		b.arrived.Store(0)
		b.passed.Add(1)
		return
	}
	for i := 1; b.passed.Load() == passed; i++ {
		if i%spins == 0 {
			if b.broken.Load() {
				panic("internal error: another worker of this pass has failed")
			}
			kernels.Yield()
		}
	}
}

// breakOnPanic is deferred by every worker: one that panics never reaches the
// barrier, and the others must not wait for it.
func (b *barrier) breakOnPanic() {
	if v := recover(); v != nil {
		b.broken.Store(true)
		panic(v)
	}
}
