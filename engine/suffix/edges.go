package suffix

import (
	"unsafe"

	"github.com/coordbench/coordbench/engine/decode"
)

// edges holds every transition that is not its state's first: a list, which
// clones walk by state, and an open-addressed index of it by (state, token).
// Not one map per state: a state with few transitions would pay for the map, and
// the root alone has one for each distinct token.
type edges struct {
	list  []edge
	index []int32 // 1 + position in list, 0 where free; its length is a power of two, at most 3/4 in use
	shift uint    // 64 - log2 len(index)
}

type edge struct {
	state int32
	tok   decode.Token
	to    int32
	next  int32 // 1 + position of the state's next older edge, or 0
}

const minIndex = 64

func (e *edges) reset() {
	e.list = e.list[:0]
	if e.index == nil {
		e.resize(minIndex)
		return
	}
	clear(e.index)
}

func (e *edges) bytes() int {
	return cap(e.list)*int(unsafe.Sizeof(edge{})) + cap(e.index)*4
}

func (e *edges) home(state int32, tok decode.Token) int {
	key := uint64(uint32(state))<<32 | uint64(uint32(tok))
	key ^= key >> 29
	return int(key * 0x9E3779B97F4A7C15 >> e.shift)
}

// find is the position in list of the edge from state on tok, or -1.
func (e *edges) find(state int32, tok decode.Token) int {
	mask := len(e.index) - 1
	for h := e.home(state, tok); ; h = (h + 1) & mask {
		i := e.index[h]
		if i == 0 {
			return -1
		}
		if x := &e.list[i-1]; x.state == state && x.tok == tok {
			return int(i - 1)
		}
	}
}

// add appends an edge that is not in the list and returns 1 + its position.
func (e *edges) add(state int32, tok decode.Token, to, next int32) int32 {
	e.list = append(e.list, edge{state, tok, to, next})
	if 4*len(e.list) > 3*len(e.index) {
		e.resize(2 * len(e.index))
	} else {
		e.enter(len(e.list) - 1)
	}
	return int32(len(e.list))
}

func (e *edges) enter(i int) {
	mask := len(e.index) - 1
	h := e.home(e.list[i].state, e.list[i].tok)
	for e.index[h] != 0 {
		h = (h + 1) & mask
	}
	e.index[h] = int32(i + 1)
}

func (e *edges) resize(n int) {
	e.index = make([]int32, n)
	e.shift = 64
	for m := n; m > 1; m >>= 1 {
		e.shift--
	}
	for i := range e.list {
		e.enter(i)
	}
}
