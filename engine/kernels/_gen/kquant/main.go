// Command kquant writes kquant_amd64.s and kquant_amd64.go: the matrix kernels for
// K-quants, whose layout engine/kernels/kquant.go describes. ../main.go runs it.
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
)

var s, g bytes.Buffer

func p(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }

// A kind is a K-quant with this many bits a value.
type kind int

func (k kind) blockBytes() int { return 256 + 64*(int(k)-4) }

// head opens a kernel. Arguments: y, first of the outputs; ldy, bytes from one
// row's outputs to the next's; w, a panel; x, a tile; n, super-blocks.
func head(k kind, rows int, isa string) {
	name := fmt.Sprintf("q%dkx%d%s", k, rows, isa)
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(y *float32, ldy int, w, x *byte, n int)\n\n", name)
	p("\n// func %s(y *float32, ldy int, w, x *byte, n int)", name)
	p("TEXT ·%s(SB), NOSPLIT, $0-40", name)
	p("\tMOVQ y+0(FP), DI")
	p("\tMOVQ ldy+8(FP), DX")
	p("\tMOVQ w+16(FP), SI")
	p("\tMOVQ x+24(FP), BX")
	p("\tMOVQ n+32(FP), CX")
}

func constant(bits string, x int, reg string) {
	p("\tMOVL $%s, AX", bits)
	p("\tVMOVD AX, X%d", x)
	p("\tVPBROADCASTD X%d, %s%d", x, reg, x)
}

// fetch asks for this many bytes of weights.
func fetch(bytes int) {
	for off := 0; off < bytes; off += 64 {
		p("\tPREFETCHT0 %d(SI)", 4096+off)
	}
}

// tail closes the loops over blocks and super-blocks.
func tail(k kind) {
	p("\tADDQ $%d, SI", k.blockBytes())
	p("\tADDQ $32, R8")
	p("\tADDQ $384, BX")
	p("\tDECQ R9")
	p("\tJNZ block")
	p("\tDECQ CX")
	p("\tJNZ super")
}

// shift moves the bits of a plane that belong to group g (of four for Q6_K) to
// bits 4 and up; what it leaves elsewhere is masked out. It returns where they are.
func shift(k kind, g, plane, tmp int, reg string) int {
	up := 4 - g*(int(k)-4)
	switch {
	case up > 0:
		p("\tVPSLLW $%d, %s%d, %s%d", up, reg, plane, reg, tmp)
	case up < 0:
		p("\tVPSRLW $%d, %s%d, %s%d", -up, reg, plane, reg, tmp)
	default:
		return plane
	}
	return tmp
}

// Registers: Z8 … a row's float sums; Z0 … its integer sums; Z16 and Z17 weights;
// Z18 and Z19 planes, Z31 and Z30 masks, Z28 d, Z29 dmin/8.
func avx512(k kind, rows int) {
	head(k, rows, "AVX512")
	constant("0x0f0f0f0f", 31, "Z")
	switch k {
	case 5:
		constant("0x10101010", 30, "Z")
	case 6:
		constant("0x30303030", 30, "Z")
	}
	if k != 6 {
		constant("0x3e000000", 26, "Z") // 1/8: what the tile holds is 8·Σx
	}
	for i := range rows {
		p("\tVPXORQ Z%d, Z%d, Z%d", 8+i, 8+i, 8+i)
	}
	// Where the sums of groups 4 to 7 go: for Q6_K they have a scale of their own,
	// else a second chain hides the latency of VPDPBUSD.
	second := func(i int) int { return 4 + i }
	two := k == 6 || rows <= 4
	if rows == 8 && k == 6 {
		second = func(i int) int { return [...]int{21, 22, 23, 24, 25, 26, 27, 29}[i] }
	} else if !two {
		second = func(i int) int { return i }
	}
	p("super:")
	p("\tVCVTPH2PS (SI), Z28")
	if k != 6 {
		p("\tVCVTPH2PS 32(SI), Z29")
		p("\tVMULPS Z26, Z29, Z29")
	}
	p("\tLEAQ 64(SI), R8")
	fetch(320)
	p("\tADDQ $320, SI")
	p("\tMOVQ $8, R9")
	p("block:")
	for i := range rows {
		p("\tVPXORQ Z%d, Z%d, Z%d", i, i, i)
		if two {
			p("\tVPXORQ Z%d, Z%d, Z%d", second(i), second(i), second(i))
		}
	}
	fetch(k.blockBytes())
	for i := range int(k) - 4 {
		p("\tVMOVDQU64 %d(SI), Z%d", 256+64*i, 18+i)
	}
	for j := range 4 {
		p("\tVMOVDQU64 %d(SI), Z16", 64*j)
		p("\tVPSRLW $4, Z16, Z17")
		p("\tVPANDD Z31, Z16, Z16")
		p("\tVPANDD Z31, Z17, Z17")
		switch k { // values |= high bits & mask
		case 5:
			p("\tVPTERNLOGD $0xf8, Z30, Z%d, Z16", shift(k, j, 18, 20, "Z"))
			p("\tVPTERNLOGD $0xf8, Z30, Z%d, Z17", shift(k, j+4, 18, 20, "Z"))
		case 6:
			p("\tVPTERNLOGD $0xf8, Z30, Z%d, Z16", shift(k, j, 18, 20, "Z"))
			p("\tVPTERNLOGD $0xf8, Z30, Z%d, Z17", shift(k, j, 19, 20, "Z"))
		}
		for i := range rows {
			p("\tVPDPBUSD.BCST %d(BX), Z16, Z%d", 32*j+4*i, i)
		}
		for i := range rows {
			p("\tVPDPBUSD.BCST %d(BX), Z17, Z%d", 32*(j+4)+4*i, second(i))
		}
	}
	if k == 6 {
		p("\tVPMOVSXBD (R8), Z18")
		p("\tVPMOVSXBD 16(R8), Z19")
		// int16 pairs of 32 times both scales
		p("\tVPSLLD $21, Z18, Z16")
		p("\tVPSRLD $16, Z16, Z16")
		p("\tVPSLLD $21, Z19, Z17")
		p("\tVPORD Z17, Z16, Z16")
		for i := range rows {
			p("\tVPMULLD Z18, Z%d, Z%d", i, i)
			p("\tVPMULLD Z19, Z%d, Z%d", second(i), second(i))
			p("\tVPDPWSSD.BCST %d(BX), Z16, Z%d", 352+4*i, i)
			p("\tVPADDD Z%d, Z%d, Z%d", second(i), i, i)
			p("\tVCVTDQ2PS Z%d, Z%d", i, i)
			p("\tVMULPS.BCST %d(BX), Z28, Z17", 256+4*i)
			p("\tVFMADD231PS Z17, Z%d, Z%d", i, 8+i)
		}
	} else {
		p("\tVPMOVZXBD (R8), Z18")
		p("\tVPMOVZXBD 16(R8), Z19")
		p("\tVCVTDQ2PS Z18, Z18")
		p("\tVCVTDQ2PS Z19, Z19")
		p("\tVMULPS Z28, Z18, Z18")
		p("\tVMULPS Z29, Z19, Z19")
		for i := range rows {
			if two {
				p("\tVPADDD Z%d, Z%d, Z%d", second(i), i, i)
			}
			p("\tVCVTDQ2PS Z%d, Z%d", i, i)
			p("\tVMULPS Z18, Z%d, Z%d", i, i)
			p("\tVCVTDQ2PS.BCST %d(BX), Z20", 320+4*i)
			p("\tVFMADD231PS Z20, Z19, Z%d", i)
			p("\tVFMADD231PS.BCST %d(BX), Z%d, Z%d", 256+4*i, i, 8+i)
		}
	}
	tail(k)
	for i := range rows {
		p("\tVMOVUPS Z%d, (DI)", 8+i)
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

// AVX2 takes half a panel of a block after the other. VPMADDUBSW adds two products
// to int16: at most 2·31·127 for Q5_K, so that two such sums fit, and 2·63·127 for
// Q6_K, which VPMADDWD multiplies with the scales.
//
// Registers: Y12 … float sums, two registers a row; Y0 and Y1 integer sums; Y8 and
// Y9 weights; Y7 and Y5 masks; Y6 ones and Y4 1/8, or Y2 and Y3 scales.
func avx2(k kind, rows int) {
	head(k, rows, "AVX2")
	constant("0x0f0f0f0f", 7, "Y")
	switch k {
	case 5:
		constant("0x10101010", 5, "Y")
	case 6:
		constant("0x30303030", 5, "Y")
	}
	if k != 6 {
		constant("0x3e000000", 4, "Y") // 1/8: what the tile holds is 8·Σx
		p("\tVPCMPEQW Y6, Y6, Y6")
		p("\tVPSRLW $15, Y6, Y6")
	}
	for i := range 2 * rows {
		p("\tVXORPS Y%d, Y%d, Y%d", 12+i, 12+i, 12+i)
	}
	p("super:")
	p("\tMOVQ SI, R10")
	p("\tLEAQ 64(SI), R8")
	fetch(320)
	p("\tADDQ $320, SI")
	p("\tMOVQ $8, R9")
	p("block:")
	fetch(k.blockBytes())
	for h := range 2 { // panel rows 8h … 8h+7
		for i := range rows {
			p("\tVPXOR Y%d, Y%d, Y%d", i, i, i)
		}
		if k == 6 {
			for half := range 2 { // each scale twice, as int16
				p("\tVPMOVSXBD %d(R8), Y%d", 16*half+8*h, 2+half)
				p("\tVPSLLD $16, Y%d, Y4", 2+half)
				p("\tVPBLENDW $0xaa, Y4, Y%d, Y%d", 2+half, 2+half)
			}
		}
		for j := range 4 {
			p("\tVMOVDQU %d(SI), Y8", 64*j+32*h)
			p("\tVPSRLW $4, Y8, Y9")
			p("\tVPAND Y7, Y8, Y8")
			p("\tVPAND Y7, Y9, Y9")
			if k > 4 {
				for part := range 2 {
					plane, group := 256+32*h, j+4*part
					if k == 6 {
						plane, group = 256+64*part+32*h, j
					}
					p("\tVMOVDQU %d(SI), Y10", plane)
					p("\tVPAND Y5, Y%d, Y10", shift(k, group, 10, 10, "Y"))
					p("\tVPOR Y10, Y%d, Y%d", 8+part, 8+part)
				}
			}
			for i := range rows {
				p("\tVPBROADCASTD %d(BX), Y10", 32*j+4*i)
				p("\tVPMADDUBSW Y10, Y8, Y11")
				p("\tVPBROADCASTD %d(BX), Y10", 32*(j+4)+4*i)
				p("\tVPMADDUBSW Y10, Y9, Y10")
				if k == 6 {
					p("\tVPMADDWD Y2, Y11, Y11")
					p("\tVPMADDWD Y3, Y10, Y10")
					p("\tVPADDD Y10, Y11, Y11")
				} else {
					p("\tVPADDW Y10, Y11, Y11")
					p("\tVPMADDWD Y6, Y11, Y11")
				}
				p("\tVPADDD Y11, Y%d, Y%d", i, i)
			}
		}
		p("\tVCVTPH2PS %d(R10), Y8", 16*h)
		if k == 6 {
			p("\tVPBLENDW $0xaa, Y3, Y2, Y9")
			p("\tVPSLLW $5, Y9, Y9")
		} else {
			p("\tVPMOVZXBD %d(R8), Y10", 8*h)
			p("\tVCVTDQ2PS Y10, Y10")
			p("\tVMULPS Y10, Y8, Y8")
			p("\tVCVTPH2PS %d(R10), Y9", 32+16*h)
			p("\tVMULPS Y4, Y9, Y9")
			p("\tVPMOVZXBD %d(R8), Y10", 16+8*h)
			p("\tVCVTDQ2PS Y10, Y10")
			p("\tVMULPS Y10, Y9, Y9")
		}
		for i := range rows {
			if k == 6 {
				p("\tVPBROADCASTD %d(BX), Y10", 352+4*i)
				p("\tVPMADDWD Y9, Y10, Y10")
				p("\tVPADDD Y10, Y%d, Y%d", i, i)
				p("\tVCVTDQ2PS Y%d, Y%d", i, i)
				p("\tVBROADCASTSS %d(BX), Y10", 256+4*i)
				p("\tVMULPS Y10, Y8, Y10")
			} else {
				p("\tVCVTDQ2PS Y%d, Y%d", i, i)
				p("\tVMULPS Y8, Y%d, Y%d", i, i)
				p("\tVPBROADCASTD %d(BX), Y10", 320+4*i)
				p("\tVCVTDQ2PS Y10, Y10")
				p("\tVFMADD231PS Y10, Y9, Y%d", i)
				p("\tVBROADCASTSS %d(BX), Y10", 256+4*i)
			}
			p("\tVFMADD231PS Y10, Y%d, Y%d", i, 12+2*i+h)
		}
	}
	tail(k)
	for i := range rows {
		p("\tVMOVUPS Y%d, (DI)", 12+2*i)
		p("\tVMOVUPS Y%d, 32(DI)", 12+2*i+1)
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

func main() {
	const note = "// Code generated by _gen/kquant; DO NOT EDIT.\n\n//go:build !purego\n\n"
	s.WriteString(note + "#include \"textflag.h\"\n")
	g.WriteString(note + "package kernels\n\n")
	for _, k := range []kind{4, 5, 6} {
		for _, rows := range []int{1, 2, 4, 8} {
			avx512(k, rows)
		}
		for _, rows := range []int{1, 2} {
			avx2(k, rows)
		}
	}
	src, err := format.Source(g.Bytes())
	if err == nil {
		err = os.WriteFile("kquant_amd64.go", src, 0o644)
	}
	if err == nil {
		err = os.WriteFile("kquant_amd64.s", s.Bytes(), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen/kquant:", err)
		os.Exit(1)
	}
}
