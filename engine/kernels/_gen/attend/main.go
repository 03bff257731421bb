// Command attend writes attend_amd64.s and attend_amd64.go: the kernels of
// attention, which differ in the width of the registers, the number format of
// keys and values, and the number of queries that share them.
//
//	go run ./_gen/attend        (in engine/kernels)
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
)

var s, g bytes.Buffer

func p(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }

// An isa is a width of registers.
type isa struct {
	name  string
	reg   string // letter
	lanes int    // float32 in a register
	most  int    // queries of one kernel
}

var (
	avx512 = isa{"AVX512", "Z", 16, 4}
	avx2   = isa{"AVX2", "Y", 8, 2}
)

func (x isa) r(i int) string { return fmt.Sprintf("%s%d", x.reg, i) }

// load loads lanes numbers of a format at a multiple of lanes from base.
func (x isa) load(half bool, base string, at, reg int) {
	if half {
		p("\tVCVTPH2PS %d(%s), %s", at*x.lanes*2, base, x.r(reg))
	} else {
		p("\tVMOVUPS %d(%s), %s", at*x.lanes*4, base, x.r(reg))
	}
}

func (x isa) zero(reg int) { p("\tVXORPS %s, %s, %s", x.r(reg), x.r(reg), x.r(reg)) }

func name(kind string, half bool, queries int, x isa) string {
	bits := 32
	if half {
		bits = 16
	}
	return fmt.Sprintf("%s%dx%d%s", kind, bits, queries, x.name)
}

// rows sets R12 and R13 to one and three strides, so that row i of four begins
// at rowAt[i] of a base register.
var rowAt = []string{"(%s)", "(%s)(R12*1)", "(%s)(R12*2)", "(%s)(R13*1)"}

func at(base string, row int) string { return fmt.Sprintf(rowAt[row], base) }

// scores: s[j][16·t+l] = Σ_c q[j][c]·k[t][c][l], c by c, each c one multiply-add.
func scores(x isa, half bool, queries int) {
	bytes := 64 // of 16 numbers
	if half {
		bytes = 32
	}
	regs := 16 / x.lanes // for one c of one tile
	wide := 4 / regs     // tiles side by side
	if x == avx2 {
		wide = 1
	}
	fn := name("scores", half, queries, x)
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(s *float32, lds int, q *float32, k *byte, d, tiles int)\n\n", fn)
	p("\n// func %s(s *float32, lds int, q *float32, k *byte, d, tiles int)", fn)
	p("// lds is in bytes. k (tiles, d, 16).")
	p("TEXT ·%s(SB), NOSPLIT, $0-48", fn)
	p("\tMOVQ s+0(FP), DI")
	p("\tMOVQ q+16(FP), SI")
	p("\tMOVQ k+24(FP), R8")
	p("\tMOVQ d+32(FP), DX")
	p("\tMOVQ tiles+40(FP), CX")
	p("\tMOVQ DX, R14")
	p("\tIMULQ $%d, R14 // bytes of a tile", bytes)
	for _, n := range []int{wide, 1} {
		tag := fmt.Sprintf("t%d", n)
		p("%s:", tag)
		p("\tCMPQ CX, $%d", n)
		if n == 1 {
			p("\tJLT done")
		} else {
			p("\tJLT t1")
		}
		ptr := []string{"R8", "R9", "R10", "R11"}
		for t := 1; t < n; t++ {
			p("\tLEAQ (%s)(R14*1), %s", ptr[t-1], ptr[t])
		}
		p("\tMOVQ DX, R12")
		p("\tSHLQ $2, R12 // bytes of a query")
		p("\tLEAQ (R12)(R12*2), R13")
		p("\tMOVQ SI, BX")
		p("\tMOVQ DX, AX")
		acc := func(j, t, i int) int { return (j*n+t)*regs + i }
		for i := range queries * n * regs {
			x.zero(i)
		}
		key := queries * n * regs // first register of keys
		bc := key + n*regs
		if bc+queries > 16*x.lanes/8 {
			panic(fn + ": out of registers")
		}
		p("%sc:", tag)
		for t := range n {
			for i := range regs {
				x.load(half, ptr[t], i, key+t*regs+i)
			}
		}
		for j := range queries {
			p("\tVBROADCASTSS %s, %s", at("BX", j), x.r(bc+j))
			for t := range n {
				for i := range regs {
					p("\tVFMADD231PS %s, %s, %s", x.r(key+t*regs+i), x.r(bc+j), x.r(acc(j, t, i)))
				}
			}
		}
		for t := range n {
			p("\tADDQ $%d, %s", bytes, ptr[t])
		}
		p("\tADDQ $4, BX")
		p("\tDECQ AX")
		p("\tJNZ %sc", tag)
		p("\tMOVQ lds+8(FP), R12")
		p("\tLEAQ (R12)(R12*2), R13")
		for j := range queries {
			p("\tLEAQ %s, BX", at("DI", j))
			for t := range n {
				for i := range regs {
					p("\tVMOVUPS %s, %d(BX)", x.r(acc(j, t, i)), 64*t+4*x.lanes*i)
				}
			}
		}
		if n > 1 {
			p("\tMOVQ %s, R8", ptr[n-1])
		}
		p("\tADDQ $%d, DI", 64*n)
		p("\tSUBQ $%d, CX", n)
		p("\tJMP %s", tag)
		if wide == 1 {
			break
		}
	}
	p("done:")
	p("\tVZEROUPPER")
	p("\tRET")
}

// mix: out[j][c] += p[j][i]·v[i][c], i by i, each i one multiply-add.
func mix(x isa, half bool, queries int) {
	size := 4
	if half {
		size = 2
	}
	fn := name("mix", half, queries, x)
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(out, p *float32, ldp int, v *byte, n, d int)\n\n", fn)
	p("\n// func %s(out, p *float32, ldp int, v *byte, n, d int)", fn)
	p("// ldp is in bytes. out (queries, d), v (n, d).")
	p("TEXT ·%s(SB), NOSPLIT, $0-48", fn)
	p("\tMOVQ out+0(FP), DI")
	p("\tMOVQ v+24(FP), R8")
	p("\tMOVQ d+40(FP), CX")
	p("\tMOVQ CX, R14")
	p("\tIMULQ $%d, R14 // bytes of a row of v", size)
	for _, regs := range []int{4, 16 / x.lanes} { // registers of a strip of columns
		cols := regs * x.lanes
		tag := fmt.Sprintf("s%d", cols)
		p("%s:", tag)
		p("\tCMPQ CX, $%d", cols)
		if regs == 4 {
			p("\tJLT s16")
		} else {
			p("\tJLT done")
		}
		acc := func(j, i int) int { return j*regs + i }
		outs := func() {
			p("\tMOVQ d+40(FP), R12")
			p("\tSHLQ $2, R12 // bytes of a row of out")
			p("\tLEAQ (R12)(R12*2), R13")
		}
		outs()
		for j := range queries {
			p("\tLEAQ %s, BX", at("DI", j))
			for i := range regs {
				p("\tVMOVUPS %d(BX), %s", 4*x.lanes*i, x.r(acc(j, i)))
			}
		}
		p("\tMOVQ ldp+16(FP), R12")
		p("\tLEAQ (R12)(R12*2), R13")
		p("\tMOVQ p+8(FP), SI")
		p("\tMOVQ n+32(FP), AX")
		p("\tMOVQ R8, R9")
		p("%sr:", tag)
		val, bc := queries*regs, queries*regs+regs
		for i := range regs {
			x.load(half, "R9", i, val+i)
		}
		for j := range queries {
			p("\tVBROADCASTSS %s, %s", at("SI", j), x.r(bc+j))
			for i := range regs {
				p("\tVFMADD231PS %s, %s, %s", x.r(val+i), x.r(bc+j), x.r(acc(j, i)))
			}
		}
		p("\tADDQ R14, R9")
		p("\tADDQ $4, SI")
		p("\tDECQ AX")
		p("\tJNZ %sr", tag)
		outs()
		for j := range queries {
			p("\tLEAQ %s, BX", at("DI", j))
			for i := range regs {
				p("\tVMOVUPS %s, %d(BX)", x.r(acc(j, i)), 4*x.lanes*i)
			}
		}
		p("\tADDQ $%d, DI", 4*cols)
		p("\tADDQ $%d, R8", size*cols)
		p("\tSUBQ $%d, CX", cols)
		p("\tJMP %s", tag)
	}
	p("done:")
	p("\tVZEROUPPER")
	p("\tRET")
}

// choose writes the function that picks a kernel by format and number of queries.
func choose(kind, params, args string, x isa) {
	fmt.Fprintf(&g, "func %s%s(half bool, queries int, %s) {\n\tswitch {\n", kind, x.name, params)
	for _, half := range []bool{true, false} {
		for q := 1; q <= x.most; q *= 2 {
			not := "!"
			if half {
				not = ""
			}
			fmt.Fprintf(&g, "\tcase %shalf && queries == %d:\n\t\t%s(%s)\n", not, q, name(kind, half, q, x), args)
		}
	}
	fmt.Fprintf(&g, "\tdefault:\n\t\tpanic(\"internal error: kernels: no attention kernel for this many queries\")\n\t}\n}\n\n")
}

func main() {
	p("// Code generated by _gen/attend. DO NOT EDIT.\n\n//go:build !purego\n\n#include \"textflag.h\"")
	g.WriteString("// Code generated by _gen/attend. DO NOT EDIT.\n\n//go:build !purego\n\npackage kernels\n\n")
	for _, x := range []isa{avx512, avx2} {
		for _, half := range []bool{true, false} {
			for q := 1; q <= x.most; q *= 2 {
				scores(x, half, q)
				mix(x, half, q)
			}
		}
		choose("scores", "s *float32, lds int, q *float32, k *byte, d, tiles int", "s, lds, q, k, d, tiles", x)
		choose("mix", "out, p *float32, ldp int, v *byte, n, d int", "out, p, ldp, v, n, d", x)
	}
	src, err := format.Source(g.Bytes())
	if err != nil {
		panic(err)
	}
	for file, b := range map[string][]byte{"attend_amd64.s": s.Bytes(), "attend_amd64.go": src} {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			panic(err)
		}
	}
}
