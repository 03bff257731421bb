// Command arm64 writes mul_arm64.{s,go} and attend_arm64.{s,go}: the kernels of
// matrices and attention for 128-bit registers, which differ in the number of rows
// that they take at once, the number format and the integer product.
//
//	go run ./_gen/arm64        (in engine/kernels)
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
)

var s, g bytes.Buffer

func p(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }

// Registers of a matrix kernel: y R0, ldy R1, w R2, x R3, n R4, scales R5.
// V0 … V15 are the float sums, V16 … V23 the integer sums of one block.
const (
	sums    = 16
	xscales = 31
	product = 30
	scale   = 29
)

// mul declares and opens a matrix kernel. Arguments: y, first of the outputs; ldy,
// bytes from one row's outputs to the next's; w, a panel; x, a tile; n, blocks or
// columns.
func mul(name string, rows int, isa string) {
	name = fmt.Sprintf("%sx%d%s", name, rows, isa)
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(y *float32, ldy int, w, x *byte, n int)\n\n", name)
	p("\n// func %s(y *float32, ldy int, w, x *byte, n int)", name)
	p("TEXT ·%s(SB), NOSPLIT, $0-40", name)
	p("\tMOVD y+0(FP), R0")
	p("\tMOVD ldy+8(FP), R1")
	p("\tMOVD w+16(FP), R2")
	p("\tMOVD x+24(FP), R3")
	p("\tMOVD n+32(FP), R4")
}

func zero(reg int) { p("\tVEOR V%d.B16, V%d.B16, V%d.B16", reg, reg, reg) }

func load(base string, off, reg int) { p("\tFMOVQ %d(%s), F%d", off, base, reg) }

// finish stores rows·16 sums, four registers a row.
func finish(rows int) {
	for i := range rows {
		p("\tVST1 [V%d.S4, V%d.S4, V%d.S4, V%d.S4], (R0)", 4*i, 4*i+1, 4*i+2, 4*i+3)
		if i < rows-1 {
			p("\tADD R1, R0")
		}
	}
	p("\tRET")
}

// next moves on by a block.
func next(bytes int) {
	p("\tADD $%d, R2", bytes)
	p("\tADD $32, R5")
	p("\tADD $384, R3")
	p("\tSUBS $1, R4, R4")
	p("\tBNE loop")
}

// open starts the loop over blocks.
func open(acc, bytes int, nibbles bool) {
	p("\tMOVD $%d, R5", bytes)
	p("\tMADD R5, R2, R4, R5 // scales follow the blocks")
	for i := range acc {
		zero(i)
	}
	if nibbles {
		p("\tVMOVI $15, V28.B16")
	}
	p("loop:")
	for off := 0; off < bytes; off += 64 {
		p("\tPRFM %d(R2), PLDL1KEEP", 1024+off)
	}
	p("\t// acc += (scale·xscale)·float(Σ w·x)")
	load("R3", 256, xscales)
}

// close adds integer sums to float sums: quad k of the panel's rows for row i of the tile.
func add(i, k, sum int) {
	p("\tSCVTF(%d, %d)", sum, sum)
	p("\tFMULE(%d, %d, %d, %d)", i, xscales, scale, product)
	p("\tVFMLA V%d.S4, V%d.S4, V%d.S4", product, sum, 4*i+k)
}

func scaleOf(k int) {
	p("\tFMOVD %d(R5), F%d", 8*k, scale)
	p("\tFCVTL(%d, %d)", scale, scale)
}

// dotprod: a register of weights is 4 panel rows × 4 columns; an element of a register
// of activations is one tile row's 4 columns.
func dotprod(rows int, nibbles bool) {
	name, bytes := "q8", 512
	if nibbles {
		name, bytes = "q4", 256
	}
	mul(name, rows, "DotProd")
	open(4*rows, bytes, nibbles)
	quads := min(4, 8/rows) // at once
	for q := 0; q < 4; q += quads {
		sum := func(i, k int) int { return sums + k*rows + i }
		if nibbles {
			load("R3", 320, 27) // -8·Σx, for nibbles are weights plus 8
		}
		for k := range quads {
			for i := range rows {
				if nibbles {
					p("\tVDUP V27.S[%d], V%d.S4", i, sum(i, k))
				} else {
					zero(sum(i, k))
				}
			}
		}
		if !nibbles {
			for group := range 8 {
				load("R3", 32*group, 28)
				for k := range quads {
					load("R2", 64*group+16*(q+k), 24+k)
				}
				for k := range quads {
					for i := range rows {
						p("\tSDOTE(%d, 28, %d, %d)", i, 24+k, sum(i, k))
					}
				}
			}
		} else {
			for part := range 4 {
				load("R3", 32*part, 26)
				load("R3", 32*(part+4), 27)
				for k := range quads {
					load("R2", 64*part+16*(q+k), 24)
					p("\tVUSHR $4, V24.B16, V25.B16")
					p("\tVAND V28.B16, V24.B16, V24.B16")
					for i := range rows {
						p("\tSDOTE(%d, 26, 24, %d)", i, sum(i, k))
					}
					for i := range rows {
						p("\tSDOTE(%d, 27, 25, %d)", i, sum(i, k))
					}
				}
			}
		}
		for k := range quads {
			scaleOf(q + k)
			for i := range rows {
				add(i, q+k, sum(i, k))
			}
		}
	}
	next(bytes)
	finish(rows)
}

// neon: products are int16, added in pairs to int32. Two products of an int8 and
// a weight down to -128 are 32512 at most; eight with nibbles 15240.
func neon(rows int, nibbles bool) {
	name, bytes := "q8", 512
	if nibbles {
		name, bytes = "q4", 256
	}
	mul(name, rows, "NEON")
	open(4*rows, bytes, nibbles)
	quads := 4 / rows
	for q := 0; q < 4; q += quads {
		// Panel rows 0, 1 and 2, 3 of a quad: a pair of int32 a row, or for
		// nibbles four int16.
		sum := func(i, k, half int) int { return sums + 2*(k*rows+i) + half }
		spread := func(group, reg int) { // tile row i's 4 columns, 4 times
			if rows == 1 {
				p("\tFMOVS %d(R3), F29", 32*group)
			} else {
				p("\tFMOVD %d(R3), F29", 32*group)
			}
			for i := range rows {
				p("\tVDUP V29.S[%d], V%d.S4", i, reg+i)
			}
		}
		if !nibbles {
			for r := range 8 {
				zero(sums + r)
			}
			temp := 0
			for group := 0; group < 8; group += 2 {
				spread(group, 24)
				spread(group+1, 26)
				for k := range quads {
					load("R2", 64*group+16*(q+k), 28)
					load("R2", 64*(group+1)+16*(q+k), 30)
					for i := range rows {
						lo, hi := 8+temp, 9+temp
						temp = (temp + 2) % 8
						p("\tSMULL(%d, 28, %d)", 24+i, lo)
						p("\tSMULL2(%d, 28, %d)", 24+i, hi)
						p("\tSMLAL(%d, 30, %d)", 26+i, lo)
						p("\tSMLAL2(%d, 30, %d)", 26+i, hi)
						p("\tSADALP(%d, %d)", lo, sum(i, k, 0))
						p("\tSADALP(%d, %d)", hi, sum(i, k, 1))
					}
				}
			}
		} else {
			for part := range 4 {
				spread(part, 24)
				spread(part+4, 26)
				for k := range quads {
					load("R2", 64*part+16*(q+k), 29)
					p("\tVUSHR $4, V29.B16, V30.B16")
					p("\tVAND V28.B16, V29.B16, V29.B16")
					first := "SMLAL"
					if part == 0 {
						first = "SMULL"
					}
					for i := range rows {
						p("\t%s(%d, 29, %d)", first, 24+i, sum(i, k, 0))
						p("\t%s2(%d, 29, %d)", first, 24+i, sum(i, k, 1))
					}
					for i := range rows {
						p("\tSMLAL(%d, 30, %d)", 26+i, sum(i, k, 0))
						p("\tSMLAL2(%d, 30, %d)", 26+i, sum(i, k, 1))
					}
				}
			}
			load("R3", 320, 27) // -8·Σx
		}
		for k := range quads {
			scaleOf(q + k)
			for i := range rows {
				lo, hi := sum(i, k, 0), sum(i, k, 1)
				if nibbles {
					p("\tVADDP V%d.H8, V%d.H8, V%d.H8", hi, lo, lo)
					p("\tVDUP V27.S[%d], V%d.S4", i, hi)
					p("\tSADALP(%d, %d)", lo, hi)
					add(i, q+k, hi)
				} else {
					p("\tVADDP V%d.S4, V%d.S4, V%d.S4", hi, lo, lo)
					add(i, q+k, lo)
				}
			}
		}
	}
	next(bytes)
	finish(rows)
}

// i8mm: a register of weights is 2 panel rows × 8 columns and SMMLA gives 2 × 2
// sums, panel row by tile row. Float sums stay in that form until the end. A
// row alone goes through SDOT, which has no second row to waste.
func i8mm(rows int, nibbles bool) {
	name, bytes := "q8", 512
	if nibbles {
		name, bytes = "q4", 256
	}
	mul(name, rows, "I8MM")
	open(4*rows, bytes, nibbles)
	pairs := max(1, rows/2)
	quads := 4 / pairs // at once
	// The sums of panel rows 0, 1 or 2, 3 of a quad with a pair of tile rows.
	sum := func(j, k, half int) int { return sums + 2*(k*pairs+j) + half }
	multiply := func(x, w, acc int) {
		if rows == 1 {
			p("\tSDOT(%d, %d, %d)", x, w, acc)
		} else {
			p("\tSMMLA(%d, %d, %d)", x, w, acc)
		}
	}
	// columns sets reg, reg+1 to pairs of tile rows × the 8 columns of groups group and group+1.
	columns := func(group, reg int) {
		load("R3", 32*group, 29)
		load("R3", 32*(group+1), 30)
		p("\tVZIP1 V30.S4, V29.S4, V%d.S4", reg)
		if pairs == 2 {
			p("\tVZIP2 V30.S4, V29.S4, V%d.S4", reg+1)
		}
		if rows == 1 {
			p("\tVDUP V%d.D[0], V%d.D2", reg, reg)
		}
	}
	for q := 0; q < 4; q += quads {
		for r := range 8 {
			zero(sums + r)
		}
		if !nibbles {
			for group := 0; group < 8; group += 2 {
				columns(group, 24)
				for k := range quads {
					for half := range 2 {
						load("R2", 64*group+32*(q+k)+16*half, 26+half)
						for j := range pairs {
							multiply(24+j, 26+half, sum(j, k, half))
						}
					}
				}
			}
		} else {
			for part := 0; part < 4; part += 2 {
				columns(part, 24)
				columns(part+4, 26)
				for k := range quads {
					for half := range 2 {
						load("R2", 64*part+32*(q+k)+16*half, 29)
						p("\tVUSHR $4, V29.B16, V30.B16")
						p("\tVAND V28.B16, V29.B16, V29.B16")
						for j := range pairs {
							multiply(24+j, 29, sum(j, k, half))
						}
						for j := range pairs {
							multiply(26+j, 30, sum(j, k, half))
						}
					}
				}
			}
			load("R3", 320, 27) // -8·Σx
		}
		for k := range quads {
			scaleOf(q + k)
			if rows == 1 {
				lo, hi := sum(0, k, 0), sum(0, k, 1)
				p("\tVADDP V%d.S4, V%d.S4, V%d.S4", hi, lo, lo)
				if nibbles {
					p("\tVDUP V27.S[0], V%d.S4", hi)
					p("\tVADD V%d.S4, V%d.S4, V%d.S4", hi, lo, lo)
				}
				add(0, q+k, lo)
				continue
			}
			for half := range 2 {
				p("\tVZIP%d V%d.S4, V%d.S4, V26.S4", half+1, scale, scale)
				for j := range pairs {
					acc := sum(j, k, half)
					if nibbles {
						p("\tVDUP V27.D[%d], V30.D2", j)
						p("\tVADD V30.S4, V%d.S4, V%d.S4", acc, acc)
					}
					p("\tSCVTF(%d, %d)", acc, acc)
					p("\tVDUP V%d.D[%d], V30.D2", xscales, j)
					p("\tFMUL(30, 26, 30)")
					p("\tVFMLA V30.S4, V%d.S4, V%d.S4", acc, 8*j+2*(q+k)+half)
				}
			}
		}
	}
	next(bytes)
	if rows == 1 {
		finish(1)
		return
	}
	for j := range pairs { // of the 2 × 2 forms, the tile rows
		for odd := range 2 {
			for k := range 4 {
				p("\tVUZP%d V%d.S4, V%d.S4, V%d.S4", odd+1, 8*j+2*k+1, 8*j+2*k, 16+k)
			}
			p("\tVST1 [V16.S4, V17.S4, V18.S4, V19.S4], (R0)")
			p("\tADD R1, R0")
		}
	}
	p("\tRET")
}

// widen loads 16 numbers of a format from base into V16 … V19 and moves base on.
func widen(format, base string) {
	if format == "f32" {
		p("\tVLD1.P 64(%s), [V16.S4, V17.S4, V18.S4, V19.S4]", base)
		return
	}
	p("\tVLD1.P 32(%s), [V20.H8, V21.H8]", base)
	convert(format)
}

func convert(format string) {
	for h := range 2 {
		if format == "f16" {
			p("\tFCVTL(%d, %d)", 20+h, 16+2*h)
			p("\tFCVTL2(%d, %d)", 20+h, 17+2*h)
		} else { // bfloat16 is the high half of a float32; V22 is zero
			p("\tVZIP1 V%d.H8, V22.H8, V%d.H8", 20+h, 16+2*h)
			p("\tVZIP2 V%d.H8, V22.H8, V%d.H8", 20+h, 17+2*h)
		}
	}
}

// A float kernel: acc[i] += w[c]·x[i][c], column by column.
func float(format string, rows int) {
	mul(format, rows, "NEON")
	for i := range 4 * rows {
		zero(i)
	}
	if format == "bf16" {
		zero(22)
	}
	p("loop:")
	p("\tPRFM 1024(R2), PLDL1KEEP")
	widen(format, "R2")
	load("R3", 0, 23)
	for i := range rows {
		for k := range 4 {
			p("\tFMLAE(%d, 23, %d, %d)", i, 16+k, 4*i+k)
		}
	}
	p("\tADD $32, R3")
	p("\tSUBS $1, R4, R4")
	p("\tBNE loop")
	finish(rows)
}

func attendName(kind string, half bool, queries int) string {
	bits := 32
	if half {
		bits = 16
	}
	return fmt.Sprintf("%s%dx%dNEON", kind, bits, queries)
}

func formatOf(half bool) string {
	if half {
		return "f16"
	}
	return "f32"
}

// scores: s[j][16·t+l] = Σ_c q[j][c]·k[t][c][l], c by c, each c one multiply-add.
func scores(half bool, queries int) {
	fn := attendName("scores", half, queries)
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(s *float32, lds int, q *float32, k *byte, d, tiles int)\n\n", fn)
	p("\n// func %s(s *float32, lds int, q *float32, k *byte, d, tiles int)", fn)
	p("// lds is in bytes. k (tiles, d, 16).")
	p("TEXT ·%s(SB), NOSPLIT, $0-48", fn)
	p("\tMOVD s+0(FP), R0")
	p("\tMOVD lds+8(FP), R1")
	p("\tMOVD q+16(FP), R2")
	p("\tMOVD k+24(FP), R3")
	p("\tMOVD d+32(FP), R4")
	p("\tMOVD tiles+40(FP), R5")
	p("tile:")
	p("\tMOVD R2, R8")
	for j := 1; j < queries; j++ {
		p("\tADD R4<<2, R%d, R%d", 7+j, 8+j)
	}
	p("\tMOVD R4, R6")
	for i := range 4 * queries {
		zero(i)
	}
	p("column:")
	widen(formatOf(half), "R3")
	for j := range queries {
		p("\tVLD1R.P 4(R%d), [V%d.S4]", 8+j, 24+j)
		for k := range 4 {
			p("\tVFMLA V%d.S4, V%d.S4, V%d.S4", 24+j, 16+k, 4*j+k)
		}
	}
	p("\tSUBS $1, R6, R6")
	p("\tBNE column")
	p("\tMOVD R0, R7")
	for j := range queries {
		p("\tVST1 [V%d.S4, V%d.S4, V%d.S4, V%d.S4], (R7)", 4*j, 4*j+1, 4*j+2, 4*j+3)
		if j < queries-1 {
			p("\tADD R1, R7")
		}
	}
	p("\tADD $64, R0")
	p("\tSUBS $1, R5, R5")
	p("\tBNE tile")
	p("\tRET")
}

// mix: out[j][c] += p[j][i]·v[i][c], i by i, each i one multiply-add.
func mix(half bool, queries int) {
	fn := attendName("mix", half, queries)
	size := 4
	if half {
		size = 2
	}
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(out, p *float32, ldp int, v *byte, n, d int)\n\n", fn)
	p("\n// func %s(out, p *float32, ldp int, v *byte, n, d int)", fn)
	p("// ldp is in bytes. out (queries, d), v (n, d), d a multiple of 16.")
	p("TEXT ·%s(SB), NOSPLIT, $0-48", fn)
	p("\tMOVD out+0(FP), R0")
	p("\tMOVD p+8(FP), R1")
	p("\tMOVD ldp+16(FP), R2")
	p("\tMOVD v+24(FP), R3")
	p("\tMOVD n+32(FP), R4")
	p("\tMOVD d+40(FP), R5")
	p("\tLSL $2, R5, R12 // bytes of a row of out")
	p("\tMOVD $%d, R13", size)
	p("\tMUL R5, R13, R13 // bytes of a row of v")
	p("strip: // of 16 columns, kept in registers over all n rows")
	p("\tMOVD R0, R14")
	for j := range queries {
		p("\tVLD1 (R14), [V%d.S4, V%d.S4, V%d.S4, V%d.S4]", 4*j, 4*j+1, 4*j+2, 4*j+3)
		if j < queries-1 {
			p("\tADD R12, R14")
		}
	}
	p("\tMOVD R1, R8")
	for j := 1; j < queries; j++ {
		p("\tADD R2, R%d, R%d", 7+j, 8+j)
	}
	p("\tMOVD R3, R7")
	p("\tMOVD R4, R6")
	p("row:")
	if half {
		p("\tVLD1.P (R7)(R13), [V20.H8, V21.H8]")
		convert("f16")
	} else {
		p("\tVLD1.P (R7)(R13), [V16.S4, V17.S4, V18.S4, V19.S4]")
	}
	for j := range queries {
		p("\tVLD1R.P 4(R%d), [V%d.S4]", 8+j, 24+j)
		for k := range 4 {
			p("\tVFMLA V%d.S4, V%d.S4, V%d.S4", 24+j, 16+k, 4*j+k)
		}
	}
	p("\tSUBS $1, R6, R6")
	p("\tBNE row")
	p("\tMOVD R0, R14")
	for j := range queries {
		p("\tVST1 [V%d.S4, V%d.S4, V%d.S4, V%d.S4], (R14)", 4*j, 4*j+1, 4*j+2, 4*j+3)
		if j < queries-1 {
			p("\tADD R12, R14")
		}
	}
	p("\tADD $64, R0")
	p("\tADD $%d, R3", 16*size)
	p("\tSUBS $16, R5, R5")
	p("\tBNE strip")
	p("\tRET")
}

// choose writes the function that picks a kernel by format and number of queries.
func choose(kind, params, args string) {
	fmt.Fprintf(&g, "func %sNEON(half bool, queries int, %s) {\n\tswitch {\n", kind, params)
	for _, half := range []bool{true, false} {
		for q := 1; q <= 4; q *= 2 {
			not := "!"
			if half {
				not = ""
			}
			fmt.Fprintf(&g, "\tcase %shalf && queries == %d:\n\t\t%s(%s)\n", not, q, attendName(kind, half, q), args)
		}
	}
	fmt.Fprintf(&g, "\tdefault:\n\t\tpanic(\"internal error: kernels: no attention kernel for this many queries\")\n\t}\n}\n\n")
}

const note = "// Code generated by _gen/arm64. DO NOT EDIT.\n\n//go:build !purego\n\n"

func begin() {
	s.Reset()
	g.Reset()
	s.WriteString(note + "#include \"textflag.h\"\n#include \"neon_arm64.h\"\n")
	g.WriteString(note + "package kernels\n\n")
}

func write(name string) {
	src, err := format.Source(g.Bytes())
	if err == nil {
		err = os.WriteFile(name+".go", src, 0o644)
	}
	if err == nil {
		err = os.WriteFile(name+".s", s.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func main() {
	begin()
	for _, nibbles := range []bool{false, true} {
		for _, rows := range []int{1, 2, 4} {
			if rows <= 2 {
				neon(rows, nibbles)
			}
			dotprod(rows, nibbles)
			i8mm(rows, nibbles)
		}
	}
	for _, format := range []string{"f32", "f16", "bf16"} {
		for _, rows := range []int{1, 2, 4} {
			float(format, rows)
		}
	}
	write("mul_arm64")

	begin()
	for _, half := range []bool{true, false} {
		for q := 1; q <= 4; q *= 2 {
			scores(half, q)
			mix(half, q)
		}
	}
	choose("scores", "s *float32, lds int, q *float32, k *byte, d, tiles int", "s, lds, q, k, d, tiles")
	choose("mix", "out, p *float32, ldp int, v *byte, n, d int", "out, p, ldp, v, n, d")
	write("attend_arm64")
}
