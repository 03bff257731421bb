package kernels

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// counted checks that every unit runs once, after all units of the stage before.
type counted struct {
	t       *testing.T
	units   []int
	ran     [][]atomic.Int32
	panicAt [2]int // (stage, unit), or (-1, 0)
	dawdle  bool
}

func newCounted(t *testing.T, units ...int) *counted {
	c := &counted{t: t, units: units, panicAt: [2]int{-1, 0}}
	for _, n := range units {
		c.ran = append(c.ran, make([]atomic.Int32, n))
	}
	return c
}

func (c *counted) Stages() int         { return len(c.units) }
func (c *counted) Units(stage int) int { return c.units[stage] }

func (c *counted) Do(worker, stage, unit int) {
	if c.panicAt == [2]int{stage, unit} {
		panic("planted")
	}
	if c.dawdle && worker > 0 {
		time.Sleep(time.Millisecond)
	}
	for s := range stage {
		for u := range c.ran[s] {
			if c.ran[s][u].Load() != 1 {
				c.t.Errorf("stage %d began while unit %d of stage %d had run %d times", stage, u, s, c.ran[s][u].Load())
				return
			}
		}
	}
	c.ran[stage][unit].Add(1)
}

func (c *counted) check() {
	c.t.Helper()
	for s := range c.ran {
		for u := range c.ran[s] {
			if n := c.ran[s][u].Load(); n != 1 {
				c.t.Errorf("unit %d of stage %d ran %d times", u, s, n)
			}
		}
	}
}

func TestStages(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 8} {
		p := NewPool(workers)
		defer p.Close()
		for round := range 300 {
			c := newCounted(t, 0, round%7, 1, 0, 0, 20, workers, 3)
			p.RunStages(c)
			c.check()
		}
		p.RunStages(newCounted(t))
		p.RunStages(newCounted(t, 0, 0))
	}
}

// After a pause the workers are asleep; the next run still takes them, and does
// not depend on them.
func TestStagesAfterSleep(t *testing.T) {
	p := NewPool(4)
	defer p.Close()
	for range 5 {
		for w := 1; w < 4; w++ {
			for !p.seats[w].asleep.Load() {
				runtime.Gosched()
			}
		}
		c := newCounted(t, 50, 50)
		c.dawdle = true
		p.RunStages(c)
		c.check()
	}
}

type parts struct{ ran [16]atomic.Int32 }

func (p *parts) Do(part, parts int) { p.ran[part].Add(int32(parts)) }

func TestRun(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		p := NewPool(workers)
		var x parts
		p.Run(&x)
		p.Close()
		p.Close()
		for i := range x.ran {
			want := int32(0)
			if i < workers {
				want = int32(workers)
			}
			if got := x.ran[i].Load(); got != want {
				t.Errorf("%d workers: part %d counted %d, want %d", workers, i, got, want)
			}
		}
	}
}

// A panic in a unit surfaces in RunStages, skips what follows, and leaves the
// pool in order.
func TestPanic(t *testing.T) {
	for _, workers := range []int{1, 3} {
		p := NewPool(workers)
		defer p.Close()
		for unit := range 6 {
			c := newCounted(t, 4, 6, 5)
			c.panicAt = [2]int{1, unit}
			func() {
				defer func() {
					if v := fmt.Sprint(recover()); !strings.Contains(v, "planted") {
						t.Errorf("recovered %v, want the planted panic", v)
					}
				}()
				p.RunStages(c)
			}()
			for u := range c.ran[2] {
				if c.ran[2][u].Load() != 0 {
					t.Errorf("unit %d of the stage after the panic ran", u)
				}
			}
			after := newCounted(t, 9, 9)
			p.RunStages(after)
			after.check()
		}
	}
}

// BenchmarkStage is the cost of a stage of one empty unit per worker.
func BenchmarkStage(b *testing.B) {
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			p := NewPool(workers)
			defer p.Close()
			s := empty{workers}
			for b.Loop() {
				p.RunStages(s)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/stage")
		})
	}
}

type empty struct{ workers int }

func (e empty) Stages() int    { return 100 }
func (e empty) Units(int) int  { return e.workers }
func (e empty) Do(_, _, _ int) {}
