// Command vnni writes vnni_amd64.s and vnni_amd64.go: the kernels for block formats
// and K-quants on CPUs that have VPDPBUSD for registers of 256 bits alone
// (AVX-VNNI). Go's assembler knows only the form of AVX-512, so that this one is
// spelled in bytes. ../main.go runs it.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
)

var s, g bytes.Buffer

func p(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }

// vex writes VEX.256.66.0F38.W0 op /r, for the registers Y0 … Y15: of the
// instructions below, dst += a · b. Intel's manual, volume 2, VPDPBUSD, VPDPWSSD.
func vex(name string, op, b, a, dst int) {
	high := func(reg, bit int) int {
		if reg < 8 {
			return bit
		}
		return 0
	}
	p("\tLONG $%#x; BYTE $%#x // %s Y%d, Y%d, Y%d",
		0xc4|(high(dst, 0x80)|0x40|high(b, 0x20)|2)<<8|(^a&15<<3|5)<<16|op<<24, 0xc0|dst&7<<3|b&7, name, b, a, dst)
}

// dot adds products of unsigned bytes in a and signed bytes in b, four by four.
func dot(b, a, dst int) { vex("VPDPBUSD", 0x50, b, a, dst) }

// pairs adds products of int16, two by two.
func pairs(b, a, dst int) { vex("VPDPWSSD", 0x52, b, a, dst) }

// Float sums do not fit into the registers: a row's 16 lie behind R11, 64 bytes a row.
const frame = 4*64 + 32

func head(name string, rows int, arguments string) {
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(y *float32, ldy int, w, x *byte, %s int)\n\n", name, arguments)
	p("\n// func %s(y *float32, ldy int, w, x *byte, %s int)", name, arguments)
	size := 40
	if arguments == "n, ahead" {
		size = 48
	}
	p("TEXT ·%s(SB), NOSPLIT, $%d-%d", name, frame, size)
	p("\tMOVQ y+0(FP), DI")
	p("\tMOVQ ldy+8(FP), DX")
	p("\tMOVQ w+16(FP), SI")
	p("\tMOVQ x+24(FP), BX")
	p("\tMOVQ n+32(FP), CX")
	if size == 48 {
		p("\tMOVQ ahead+40(FP), R9")
	}
	p("\tLEAQ 31(SP), R11")
	p("\tANDQ $-32, R11")
	zero(0)
	for i := range 2 * rows {
		p("\tVMOVDQU Y0, %d(R11)", 32*i)
	}
}

func foot(rows int) {
	for i := range rows {
		p("\tVMOVUPS %d(R11), Y0", 64*i)
		p("\tVMOVUPS %d(R11), Y1", 64*i+32)
		p("\tVMOVUPS Y0, (DI)")
		p("\tVMOVUPS Y1, 32(DI)")
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

func zero(reg int) { p("\tVPXOR Y%d, Y%d, Y%d", reg, reg, reg) }

func constant(bits string, reg int) {
	p("\tMOVL $%s, AX", bits)
	p("\tVMOVD AX, X%d", reg)
	p("\tVPBROADCASTD X%d, Y%d", reg, reg)
}

// accumulate: the float sums of row i in half h of the panel += Y(factor)·Y(x).
func accumulate(i, h, factor, x, tmp int) {
	p("\tVMOVUPS %d(R11), Y%d", 64*i+32*h, tmp)
	p("\tVFMADD231PS Y%d, Y%d, Y%d", factor, x, tmp)
	p("\tVMOVUPS Y%d, %d(R11)", tmp, 64*i+32*h)
}

// Layouts Q8 and Q4: sums += (scale·xscale)·float(Σ w·x + corr), with the roundings
// of the kernels of AVX-512.
//
// Registers: Y0 … Y7 integer sums, a row's halves side by side; Y8, Y9, Y12 and Y13
// weights; Y10 activations; Y11 a mask.
func block(name string, rows int, nibbles bool) {
	head(fmt.Sprintf("%sx%dVNNI", name, rows), rows, "n, ahead")
	bytes, corr := 512, 288
	if nibbles {
		bytes, corr = 256, 320
		constant("0x0f0f0f0f", 11)
	}
	p("\tMOVQ CX, R8")
	p("\tIMULQ $%d, R8", bytes)
	p("\tADDQ SI, R8")
	chains := 1
	if rows <= 2 {
		chains = 2 // hides the latency of VPDPBUSD; integer sums do not care
	}
	acc := func(i, h, group int) int { return (group%chains*rows+i)*2 + h }
	p("loop:")
	for i := range rows {
		p("\tVPBROADCASTD %d(BX), Y%d", corr+4*i, acc(i, 0, 0))
		p("\tVMOVDQA Y%d, Y%d", acc(i, 0, 0), acc(i, 1, 0))
		if chains == 2 {
			zero(acc(i, 0, 1))
			zero(acc(i, 1, 1))
		}
	}
	for off := 0; off < bytes; off += 64 {
		p("\tPREFETCHT0 %d(SI)(R9*1)", off)
	}
	if nibbles {
		for j := range 4 {
			for h, low := range [...]int{8, 12} {
				p("\tVMOVDQU %d(SI), Y%d", 64*j+32*h, low)
				p("\tVPSRLW $4, Y%d, Y%d", low, low+1)
				p("\tVPAND Y11, Y%d, Y%d", low, low)
				p("\tVPAND Y11, Y%d, Y%d", low+1, low+1)
			}
			for part := range 2 {
				for i := range rows {
					p("\tVPBROADCASTD %d(BX), Y10", 32*(j+4*part)+4*i)
					dot(10, 8+part, acc(i, 0, part))
					dot(10, 12+part, acc(i, 1, part))
				}
			}
		}
	} else {
		for j := range 8 {
			p("\tVMOVDQU %d(SI), Y8", 64*j)
			p("\tVMOVDQU %d(SI), Y9", 64*j+32)
			for i := range rows {
				p("\tVPBROADCASTD %d(BX), Y10", 32*j+4*i)
				dot(10, 8, acc(i, 0, j))
				dot(10, 9, acc(i, 1, j))
			}
		}
	}
	p("\tVCVTPH2PS (R8), Y8")
	p("\tVCVTPH2PS 16(R8), Y9")
	for i := range rows {
		p("\tVBROADCASTSS %d(BX), Y10", 256+4*i)
		for h := range 2 {
			a := acc(i, h, 0)
			if chains == 2 {
				p("\tVPADDD Y%d, Y%d, Y%d", acc(i, h, 1), a, a)
			}
			p("\tVCVTDQ2PS Y%d, Y%d", a, a)
			p("\tVMULPS Y10, Y%d, Y12", 8+h)
			accumulate(i, h, 12, a, 13)
		}
	}
	p("\tADDQ $%d, SI", bytes)
	p("\tADDQ $32, R8")
	p("\tADDQ $384, BX")
	p("\tDECQ CX")
	p("\tJNZ loop")
	foot(rows)
}

// K-quants, half a panel after the other.
//
// Registers: Y0 … Y3 and Y4 … Y7 integer sums of groups 0 to 3 and 4 to 7, which for
// Q6_K have scales of their own; Y8 and Y9 weights; Y10 and Y11 for the moment; Y12
// and Y13 masks; Y14 1/8.
func kquant(bits, rows int) {
	head(fmt.Sprintf("q%dkx%dVNNI", bits, rows), rows, "n")
	blockBytes := 256 + 64*(bits-4)
	constant("0x0f0f0f0f", 12)
	switch bits {
	case 5:
		constant("0x10101010", 13)
	case 6:
		constant("0x30303030", 13)
	}
	if bits != 6 {
		constant("0x3e000000", 14) // 1/8: what the tile holds is 8·Σx
	}
	p("super:")
	p("\tMOVQ SI, R10")
	p("\tLEAQ 64(SI), R8")
	for off := 0; off < 320; off += 64 {
		p("\tPREFETCHT0 %d(SI)", 4096+off)
	}
	p("\tADDQ $320, SI")
	p("\tMOVQ $8, R9")
	p("block:")
	for off := 0; off < blockBytes; off += 64 {
		p("\tPREFETCHT0 %d(SI)", 4096+off)
	}
	for h := range 2 { // panel rows 8h … 8h+7
		for i := range rows {
			zero(i)
			zero(4 + i)
		}
		for j := range 4 {
			p("\tVMOVDQU %d(SI), Y8", 64*j+32*h)
			p("\tVPSRLW $4, Y8, Y9")
			p("\tVPAND Y12, Y8, Y8")
			p("\tVPAND Y12, Y9, Y9")
			for part := range 2 {
				plane, up := 256+32*h, 4-(j+4*part)
				switch bits {
				case 4:
					continue
				case 6:
					plane, up = 256+64*part+32*h, 4-2*j
				}
				p("\tVMOVDQU %d(SI), Y10", plane)
				if up > 0 {
					p("\tVPSLLW $%d, Y10, Y10", up)
				} else if up < 0 {
					p("\tVPSRLW $%d, Y10, Y10", -up)
				}
				p("\tVPAND Y13, Y10, Y10")
				p("\tVPOR Y10, Y%d, Y%d", 8+part, 8+part)
			}
			for part := range 2 {
				for i := range rows {
					p("\tVPBROADCASTD %d(BX), Y10", 32*(j+4*part)+4*i)
					dot(10, 8+part, 4*part+i)
				}
			}
		}
		p("\tVCVTPH2PS %d(R10), Y8", 16*h)
		if bits == 6 {
			p("\tVPMOVSXBD %d(R8), Y14", 8*h)
			p("\tVPMOVSXBD %d(R8), Y15", 16+8*h)
			// int16 pairs of 32 times both scales
			p("\tVPSLLD $16, Y15, Y9")
			p("\tVPBLENDW $0xaa, Y9, Y14, Y9")
			p("\tVPSLLW $5, Y9, Y9")
		} else {
			p("\tVPMOVZXBD %d(R8), Y10", 8*h)
			p("\tVCVTDQ2PS Y10, Y10")
			p("\tVMULPS Y10, Y8, Y8")
			p("\tVCVTPH2PS %d(R10), Y9", 32+16*h)
			p("\tVMULPS Y14, Y9, Y9")
			p("\tVPMOVZXBD %d(R8), Y10", 16+8*h)
			p("\tVCVTDQ2PS Y10, Y10")
			p("\tVMULPS Y10, Y9, Y9")
		}
		for i := range rows {
			if bits == 6 {
				p("\tVPMULLD Y14, Y%d, Y%d", i, i)
				p("\tVPMULLD Y15, Y%d, Y%d", 4+i, 4+i)
				p("\tVPBROADCASTD %d(BX), Y10", 352+4*i)
				pairs(9, 10, i)
				p("\tVPADDD Y%d, Y%d, Y%d", 4+i, i, i)
				p("\tVCVTDQ2PS Y%d, Y%d", i, i)
				p("\tVBROADCASTSS %d(BX), Y10", 256+4*i)
				p("\tVMULPS Y10, Y8, Y10")
			} else {
				p("\tVPADDD Y%d, Y%d, Y%d", 4+i, i, i)
				p("\tVCVTDQ2PS Y%d, Y%d", i, i)
				p("\tVMULPS Y8, Y%d, Y%d", i, i)
				p("\tVPBROADCASTD %d(BX), Y10", 320+4*i)
				p("\tVCVTDQ2PS Y10, Y10")
				p("\tVFMADD231PS Y10, Y9, Y%d", i)
				p("\tVBROADCASTSS %d(BX), Y10", 256+4*i)
			}
			accumulate(i, h, 10, i, 11)
		}
	}
	p("\tADDQ $%d, SI", blockBytes)
	p("\tADDQ $32, R8")
	p("\tADDQ $384, BX")
	p("\tDECQ R9")
	p("\tJNZ block")
	p("\tDECQ CX")
	p("\tJNZ super")
	foot(rows)
}

func main() {
	const note = "// Code generated by _gen/vnni; DO NOT EDIT.\n\n//go:build !purego\n\n"
	s.WriteString(note + "#include \"textflag.h\"\n")
	g.WriteString(note + "package kernels\n\n")
	for _, rows := range []int{1, 2, 4} {
		block("q8", rows, false)
		block("q4", rows, true)
		for bits := 4; bits <= 6; bits++ {
			kquant(bits, rows)
		}
	}
	src, err := format.Source(g.Bytes())
	if err == nil {
		err = os.WriteFile("vnni_amd64.go", src, 0o644)
	}
	if err == nil {
		err = os.WriteFile("vnni_amd64.s", s.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen/vnni:", err)
		os.Exit(1)
	}
}
