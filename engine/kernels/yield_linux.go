package kernels

import "syscall"

// Yield lets the system run something else on this processor. A worker that has
// waited in vain may be waiting for one that the system has put on the same
// processor: runtime.Gosched would not let that one run, and each wait would last
// a whole time slice.
func Yield() { syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }
