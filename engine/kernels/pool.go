package kernels

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
)

// Stages is work in steps: the units of a stage may run in any order and at the
// same time, and a stage begins when the one before is done. A stage may have no
// units.
//
// Units must not depend on which worker runs them. The methods are called
// concurrently; Units is called while nothing runs.
type Stages interface {
	Stages() int
	Units(stage int) int
	Do(worker, stage, unit int)
}

// A Task is work that a Pool's workers share in equal parts: Do is called for
// each part, 0 … parts-1, where parts is the number of workers.
type Task interface{ Do(part, parts int) }

// A Pool is a fixed set of workers that run stages together. The goroutine that
// calls Run is worker 0. Between runs the others look for the next one for some
// microseconds and then sleep, so that a pool without work draws no power. A Pool
// does one run at a time and is used by one goroutine at a time.
//
// Nobody waits for a worker that holds no unit. Where the system gives a
// processor to another program for some milliseconds, which is a hundred stages
// of a small model, the remaining workers do the units of the one that is away,
// and it finds its way back to whatever stage is then current.
type Pool struct {
	workers int

	// What runs; written between stages, when no worker holds a unit.
	work   Stages
	stage  int
	failed atomic.Pointer[failure]
	whole  task // work for Run
	_      [64]byte

	// state is the current stage: a number that never repeats, its units, and the
	// next of them to be taken. Taking one is adding 1, which fails if any of the
	// three has changed.
	state atomic.Uint64
	_     [56]byte
	done  atomic.Int64 // units of the current stage that are finished
	_     [56]byte
	over  atomic.Bool // no stage is left
	_     [63]byte

	closing atomic.Bool
	seats   []seat
	ended   sync.WaitGroup
}

// A seat is where a worker other than 0 sleeps.
type seat struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [48]byte
}

type failure struct{ value any }

const (
	unitBits = 15
	maxUnits = 1<<unitBits - 1
)

// idleSpins is how often a worker looks for work before it sleeps, some tens of
// microseconds: longer than the gap between the runs of a forward pass, shorter
// than the gap between requests.
const idleSpins = 4000

// NewPool starts threads-1 workers; 0 threads stands for one a processor.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: threads, seats: make([]seat, threads)}
	p.over.Store(true)
	for w := 1; w < threads; w++ {
		p.seats[w].wake = make(chan struct{}, 1)
		p.ended.Add(1)
		go p.loop(w)
	}
	return p
}

// Workers is the number of workers, the caller of Run included.
func (p *Pool) Workers() int { return p.workers }

// task is a Task as a single stage.
type task struct {
	t     Task
	parts int
}

func (t *task) Stages() int       { return 1 }
func (t *task) Units(int) int     { return t.parts }
func (t *task) Do(_, _, part int) { t.t.Do(part, t.parts) }

// Run calls t.Do for every part and returns when all have returned. A panic in
// one of them is raised again here, once all are done.
func (p *Pool) Run(t Task) {
	p.whole = task{t, p.workers}
	p.RunStages(&p.whole)
	p.whole = task{}
}

// RunStages runs all stages of s in order and returns when the last is done.
// After a panic in a unit the stages that follow are left out, and the panic is
// raised again here.
func (p *Pool) RunStages(s Stages) {
	p.work, p.stage = s, -1
	p.over.Store(false)
	p.advance()
	for w := 1; w < p.workers; w++ {
		if s := &p.seats[w]; s.asleep.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
	for i := 1; !p.over.Load(); i++ {
		if p.step(0) {
			i = 0
			continue
		}
		relax(i)
	}
	p.work = nil
	if f := p.failed.Swap(nil); f != nil {
		panic(f.value)
	}
}

// relax is one of a waiting worker's looks, the i-th in a row. What it waits for
// usually takes microseconds; if not, a worker may have been put on this very
// processor.
func relax(i int) {
	if i%idleSpins == 0 {
		Yield()
	}
	pause()
}

// advance opens the next stage that has units. Only one worker is here at a
// time: the one that finished the last unit, or Run.
func (p *Pool) advance() {
	number := p.state.Load()>>(2*unitBits) + 1
	units := 0
	for p.stage++; p.stage < p.work.Stages() && p.failed.Load() == nil; p.stage++ {
		if units = p.work.Units(p.stage); units > 0 {
			break
		}
	}
	if units > maxUnits {
		panic(fmt.Sprintf("internal error: kernels: %d units in a stage; at most %d", units, maxUnits))
	}
	p.done.Store(0)
	p.state.Store(number<<(2*unitBits) | uint64(units)<<unitBits)
	if units == 0 {
		p.over.Store(true)
	}
}

// step takes a unit of the current stage and runs it. It reports whether there
// was one.
func (p *Pool) step(worker int) bool {
	s := p.state.Load()
	units, next := s>>unitBits&maxUnits, s&maxUnits
	if next >= units || !p.state.CompareAndSwap(s, s+1) {
		return next < units // if another was faster, look again
	}
	// The stage cannot end before this unit has.
	p.unit(worker, int(next))
	if p.done.Add(1) == int64(units) {
		p.advance()
	}
	return true
}

func (p *Pool) unit(worker, unit int) {
	defer func() {
		if v := recover(); v != nil {
			p.failed.CompareAndSwap(nil, &failure{v})
		}
	}()
	p.work.Do(worker, p.stage, unit)
}

// loop is the life of a worker other than 0.
func (p *Pool) loop(w int) {
	defer p.ended.Done()
	seat := &p.seats[w]
	for i := 1; !p.closing.Load(); i++ {
		if p.step(w) {
			i = 0
			continue
		}
		if !p.over.Load() || i < idleSpins {
			relax(i)
			continue
		}
		// Sleep, unless work came before anybody could know: whoever takes asleep
		// back decides whether a wake-up is on its way.
		seat.asleep.Store(true)
		if (!p.over.Load() || p.closing.Load()) && seat.asleep.CompareAndSwap(true, false) {
			continue
		}
		<-seat.wake
		i = 0
	}
}

// Close ends the workers. The pool must not be used afterwards.
func (p *Pool) Close() {
	if p.closing.Swap(true) {
		return
	}
	for w := 1; w < p.workers; w++ {
		if s := &p.seats[w]; s.asleep.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
	p.ended.Wait()
}
