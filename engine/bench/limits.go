package bench

import (
	"sync"
	"time"
)

// Limits are what this machine can do at most, measured by loops that do
// nothing else.
type Limits struct {
	GBs   float64 // memory reads, 10⁹ bytes a second, all threads together
	GMACs float64 // int8 multiply-adds, 10⁹ a second, all threads together
	Path  string  // instructions that the multiply-add loop used
}

const (
	readBytes = 256 << 20 // per thread: far beyond any cache
	readTimes = 5
	macRounds = 4 << 20
	macTimes  = 5
)

// MeasureLimits takes the best of several runs: a limit that another process
// lowered is none.
func MeasureLimits(threads int) Limits {
	bufs := make([][]byte, threads)
	for i := range bufs {
		bufs[i] = make([]byte, readBytes)
		for j := 0; j < readBytes; j += 4096 {
			bufs[i][j] = byte(j >> 12) // a page never written is the shared zero page, which is cached
		}
	}
	var l Limits
	for range readTimes {
		s := parallel(threads, func(i int) { readAll(bufs[i]) })
		l.GBs = max(l.GBs, float64(threads)*readBytes/s/1e9)
	}
	perRound, path := macsPerRound()
	l.Path = path
	for range macTimes {
		s := parallel(threads, func(int) { macs(macRounds) })
		l.GMACs = max(l.GMACs, float64(threads)*macRounds*float64(perRound)/s/1e9)
	}
	return l
}

// parallel runs f on every thread and returns the seconds from the first start to the last end.
func parallel(threads int, f func(i int)) float64 {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	for i := range threads {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-start
			f(i)
		})
	}
	ready.Wait()
	t := time.Now()
	close(start)
	done.Wait()
	return time.Since(t).Seconds()
}
