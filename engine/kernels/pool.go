package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// A Task is work that a Pool's workers share. Do is called once on each worker
// and divides the work itself.
type Task interface{ Do(worker, workers int) }

// A Pool is a fixed set of workers that run tasks together. The goroutine that
// calls Run is worker 0. Between tasks the others look for the next one for
// some microseconds and then sleep, so that a pool without work draws no power.
// A Pool runs one task at a time and is used by one goroutine at a time.
type Pool struct {
	workers int
	task    Task
	closing bool
	round   atomic.Uint32 // counts tasks; a change hands out the current one
	_       [60]byte
	pending atomic.Int32 // workers that have not finished the current task
	_       [60]byte
	seats   []seat
	caught  atomic.Pointer[caught]
	done    sync.WaitGroup
}

// A seat is where a worker other than 0 sleeps.
type seat struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [40]byte
}

type caught struct{ value any }

// idleSpins is how often a worker looks for the next task before it sleeps,
// some tens of microseconds: longer than the gap between the parallel regions
// of a forward pass, shorter than the gap between requests.
const idleSpins = 4000

// NewPool starts threads-1 workers; 0 threads stands for one a processor.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{workers: threads, seats: make([]seat, threads)}
	for w := 1; w < threads; w++ {
		p.seats[w].wake = make(chan struct{}, 1)
		p.done.Add(1)
		go p.work(w)
	}
	return p
}

// Workers is the number of workers, the caller of Run included.
func (p *Pool) Workers() int { return p.workers }

// Run calls t.Do on every worker and returns when all have returned. A panic in
// one of them is raised again here, once all are done.
func (p *Pool) Run(t Task) {
	if p.workers == 1 {
		t.Do(0, 1)
		return
	}
	p.start(t)
	func() {
		defer p.recover()
		t.Do(0, p.workers)
	}()
	for i := 0; p.pending.Load() != 0; i++ {
		if i > idleSpins {
			runtime.Gosched()
		}
		pause()
	}
	p.task = nil
	if c := p.caught.Swap(nil); c != nil {
		panic(c.value)
	}
}

func (p *Pool) start(t Task) {
	p.task = t
	p.pending.Store(int32(p.workers - 1))
	p.round.Add(1)
	for w := 1; w < p.workers; w++ {
		if s := &p.seats[w]; s.asleep.CompareAndSwap(true, false) {
			s.wake <- struct{}{}
		}
	}
}

func (p *Pool) recover() {
	if v := recover(); v != nil {
		p.caught.CompareAndSwap(nil, &caught{v})
	}
}

func (p *Pool) work(w int) {
	defer p.done.Done()
	seen := uint32(0)
	for {
		seen = p.await(w, seen)
		if p.closing {
			p.pending.Add(-1)
			return
		}
		func() {
			defer p.recover()
			p.task.Do(w, p.workers)
		}()
		p.pending.Add(-1)
	}
}

// await returns the number of the next task, which is not seen.
func (p *Pool) await(w int, seen uint32) uint32 {
	for range idleSpins {
		if r := p.round.Load(); r != seen {
			return r
		}
		pause()
	}
	s := &p.seats[w]
	s.asleep.Store(true)
	// A task that came in between has been counted but woke nobody: whoever takes
	// asleep back decides whether a token is on its way.
	if r := p.round.Load(); r != seen && s.asleep.CompareAndSwap(true, false) {
		return r
	}
	<-s.wake
	return p.round.Load()
}

// Close ends the workers. The pool must not be used afterwards.
func (p *Pool) Close() {
	if p.workers > 1 && !p.closing {
		p.closing = true
		p.start(nil)
		p.done.Wait()
	}
}
