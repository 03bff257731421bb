// Command gen writes mul_amd64.s and mul_amd64.go: the matrix kernels,
// which differ only in the number of rows that they take at once, the number
// format and the width of the registers. Then it runs the other generators, so that
// all generated files are new.
//
//	go run _gen/main.go        (in engine/kernels)
package main

import (
	"bytes"
	"fmt"
	"go/format"
	"os"
	"os/exec"
)

var s, g bytes.Buffer

func p(format string, args ...any) { fmt.Fprintf(&s, format+"\n", args...) }

// head opens a kernel. Arguments: y, first of the outputs; ldy, bytes from one
// row's outputs to the next's; w, a panel; x, a tile; n, blocks or columns; ahead,
// how far behind what is read now the memory should be fetched.
func head(name string) {
	fmt.Fprintf(&g, "//go:noescape\nfunc %s(y *float32, ldy int, w, x *byte, n, ahead int)\n\n", name)
	p("\n// func %s(y *float32, ldy int, w, x *byte, n, ahead int)", name)
	p("TEXT ·%s(SB), NOSPLIT, $0-48", name)
	p("\tMOVQ y+0(FP), DI")
	p("\tMOVQ ldy+8(FP), DX")
	p("\tMOVQ w+16(FP), SI")
	p("\tMOVQ x+24(FP), BX")
	p("\tMOVQ n+32(FP), CX")
	p("\tMOVQ ahead+40(FP), R9")
}

// fetch asks for this many bytes of weights.
func fetch(bytes int) {
	for off := 0; off < bytes; off += 64 {
		p("\tPREFETCHT0 %d(SI)(R9*1)", off)
	}
}

// scales sets R8 to the panel's scales, which follow n blocks of this many bytes.
func scales(bytes int) {
	p("\tMOVQ CX, R8")
	p("\tIMULQ $%d, R8", bytes)
	p("\tADDQ SI, R8")
}

// q8 and q4 share their shape: acc[i] += (scale·xscale[i])·float(Σ w·x[i] + corr[i]).
func block512(name string, rows int, nibbles bool) {
	head(fmt.Sprintf("%sx%dAVX512", name, rows))
	parts, corr, bytes := 8, 288, 512
	if nibbles {
		parts, corr, bytes = 4, 320, 256
		p("\tMOVL $0x0f0f0f0f, AX")
		p("\tVPBROADCASTD AX, Z31")
	}
	scales(bytes)
	chains := 1
	if rows <= 4 {
		chains = 2 // hides the latency of VPDPBUSD; integer sums do not care
	}
	for i := range rows {
		p("\tVPXORQ Z%d, Z%d, Z%d", 8+i, 8+i, 8+i)
	}
	p("loop:")
	for i := range rows {
		p("\tVPBROADCASTD %d(BX), Z%d", corr+4*i, i)
		if chains == 2 {
			p("\tVPXORQ Z%d, Z%d, Z%d", 4+i, 4+i, 4+i)
		}
	}
	fetch(bytes)
	acc := func(i, group int) int {
		if chains == 2 && group%2 == 1 {
			return 4 + i
		}
		return i
	}
	for j := range parts {
		p("\tVMOVDQU64 %d(SI), Z16", 64*j)
		if !nibbles {
			for i := range rows {
				p("\tVPDPBUSD.BCST %d(BX), Z16, Z%d", 32*j+4*i, acc(i, j))
			}
			continue
		}
		p("\tVPSRLW $4, Z16, Z17")
		p("\tVPANDD Z31, Z16, Z16")
		p("\tVPANDD Z31, Z17, Z17")
		for i := range rows {
			p("\tVPDPBUSD.BCST %d(BX), Z16, Z%d", 32*j+4*i, acc(i, 0))
		}
		for i := range rows {
			p("\tVPDPBUSD.BCST %d(BX), Z17, Z%d", 32*(j+4)+4*i, acc(i, 1))
		}
	}
	p("\tVCVTPH2PS (R8), Z18")
	for i := range rows {
		if chains == 2 {
			p("\tVPADDD Z%d, Z%d, Z%d", 4+i, i, i)
		}
		p("\tVCVTDQ2PS Z%d, Z%d", i, i)
		p("\tVMULPS.BCST %d(BX), Z18, Z19", 256+4*i)
		p("\tVFMADD231PS Z19, Z%d, Z%d", i, 8+i)
	}
	p("\tADDQ $%d, SI", bytes)
	p("\tADDQ $32, R8")
	p("\tADDQ $384, BX")
	p("\tDECQ CX")
	p("\tJNZ loop")
	for i := range rows {
		p("\tVMOVUPS Z%d, (DI)", 8+i)
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

// A float kernel: acc[i] += w[c]·x[i][c], column by column.
func float512(name, load string, size, rows int) {
	head(fmt.Sprintf("%sx%dAVX512", name, rows))
	for i := range rows {
		p("\tVXORPS Z%d, Z%d, Z%d", 8+i, 8+i, 8+i)
	}
	p("loop:")
	fetch(64)
	p("\t"+load, "(SI)", "Z16")
	if name == "bf16" {
		p("\tVPSLLD $16, Z16, Z16")
	}
	for i := range rows {
		p("\tVFMADD231PS.BCST %d(BX), Z16, Z%d", 4*i, 8+i)
	}
	p("\tADDQ $%d, SI", size*16)
	p("\tADDQ $32, BX")
	p("\tDECQ CX")
	p("\tJNZ loop")
	for i := range rows {
		p("\tVMOVUPS Z%d, (DI)", 8+i)
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

// AVX2 has no unsigned-by-signed product with 32-bit sums. Bytes are widened to
// int16, whose products VPMADDWD adds in pairs to int32 without overflow.
func q8AVX2(rows int) {
	head(fmt.Sprintf("q8x%dAVX2", rows))
	scales(512)
	for i := range 2 * rows { // Y12 … : float sums, two registers a row
		p("\tVXORPS Y%d, Y%d, Y%d", 12+i, 12+i, 12+i)
	}
	p("loop:")
	fetch(512)
	for i := range 4 * rows { // Y0 … Y7: integer sums, four registers a row
		p("\tVPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	for j := range 8 {
		for i := range rows {
			p("\tVPBROADCASTD %d(BX), X%d", 32*j+4*i, 8+i)
			p("\tVPMOVSXBW X%d, Y%d", 8+i, 8+i)
		}
		for k := range 4 { // rows 4k … 4k+3 of the panel
			p("\tVPMOVZXBW %d(SI), Y10", 64*j+16*k)
			for i := range rows {
				p("\tVPMADDWD Y%d, Y10, Y11", 8+i)
				p("\tVPADDD Y11, Y%d, Y%d", 4*i+k, 4*i+k)
			}
		}
	}
	for h := range 2 { // panel rows 8h … 8h+7
		p("\tVCVTPH2PS %d(R8), Y8", 16*h)
		for i := range rows {
			a, b := 4*i+2*h, 4*i+2*h+1
			p("\tVPHADDD Y%d, Y%d, Y%d", b, a, a)
			p("\tVPERMQ $0xd8, Y%d, Y%d", a, a)
			p("\tVPBROADCASTD %d(BX), Y9", 288+4*i)
			p("\tVPADDD Y9, Y%d, Y%d", a, a)
			p("\tVCVTDQ2PS Y%d, Y%d", a, a)
			p("\tVBROADCASTSS %d(BX), Y9", 256+4*i)
			p("\tVMULPS Y9, Y8, Y9")
			p("\tVFMADD231PS Y9, Y%d, Y%d", a, 12+2*i+h)
		}
	}
	p("\tADDQ $32, R8")
	tailAVX2(512, 384, rows, 12)
}

// A nibble times an int8, eight of them added, stays within int16: 8·15·127 = 15240
// for each of the pair that VPMADDUBSW adds, 30480 together.
func q4AVX2(rows int) {
	head(fmt.Sprintf("q4x%dAVX2", rows))
	scales(256)
	p("\tMOVL $0x0f0f0f0f, AX")
	p("\tVMOVD AX, X7")
	p("\tVPBROADCASTD X7, Y7")
	p("\tVPCMPEQW Y6, Y6, Y6")
	p("\tVPSRLW $15, Y6, Y6 // ones")
	for i := range 2 * rows {
		p("\tVXORPS Y%d, Y%d, Y%d", 12+i, 12+i, 12+i)
	}
	p("loop:")
	fetch(256)
	for i := range 2 * rows {
		p("\tVPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	for j := range 4 {
		for h := range 2 {
			p("\tVMOVDQU %d(SI), Y8", 64*j+32*h)
			p("\tVPSRLW $4, Y8, Y9")
			p("\tVPAND Y7, Y8, Y8")
			p("\tVPAND Y7, Y9, Y9")
			for i := range rows {
				p("\tVPBROADCASTD %d(BX), Y10", 32*j+4*i)
				p("\tVPMADDUBSW Y10, Y8, Y11")
				p("\tVPADDW Y11, Y%d, Y%d", 2*i+h, 2*i+h)
				p("\tVPBROADCASTD %d(BX), Y10", 32*(j+4)+4*i)
				p("\tVPMADDUBSW Y10, Y9, Y11")
				p("\tVPADDW Y11, Y%d, Y%d", 2*i+h, 2*i+h)
			}
		}
	}
	for h := range 2 {
		p("\tVCVTPH2PS %d(R8), Y8", 16*h)
		for i := range rows {
			a := 2*i + h
			p("\tVPMADDWD Y6, Y%d, Y%d", a, a)
			p("\tVPBROADCASTD %d(BX), Y9", 320+4*i)
			p("\tVPADDD Y9, Y%d, Y%d", a, a)
			p("\tVCVTDQ2PS Y%d, Y%d", a, a)
			p("\tVBROADCASTSS %d(BX), Y9", 256+4*i)
			p("\tVMULPS Y9, Y8, Y9")
			p("\tVFMADD231PS Y9, Y%d, Y%d", a, 12+2*i+h)
		}
	}
	p("\tADDQ $32, R8")
	tailAVX2(256, 384, rows, 12)
}

func floatAVX2(name string, size, rows int) {
	head(fmt.Sprintf("%sx%dAVX2", name, rows))
	for i := range 2 * rows {
		p("\tVXORPS Y%d, Y%d, Y%d", 4+i, 4+i, 4+i)
	}
	p("loop:")
	fetch(16 * size)
	for h := range 2 {
		off := 8 * size * h
		switch name {
		case "f32":
			p("\tVMOVUPS %d(SI), Y%d", off, h)
		case "f16":
			p("\tVCVTPH2PS %d(SI), Y%d", off, h)
		case "bf16":
			p("\tVPMOVZXWD %d(SI), Y%d", off, h)
			p("\tVPSLLD $16, Y%d, Y%d", h, h)
		}
	}
	for i := range rows {
		p("\tVBROADCASTSS %d(BX), Y2", 4*i)
		for h := range 2 {
			p("\tVFMADD231PS Y2, Y%d, Y%d", h, 4+2*i+h)
		}
	}
	tailAVX2(size*16, 32, rows, 4)
}

func tailAVX2(wBytes, xBytes, rows, acc int) {
	p("\tADDQ $%d, SI", wBytes)
	p("\tADDQ $%d, BX", xBytes)
	p("\tDECQ CX")
	p("\tJNZ loop")
	for i := range rows {
		p("\tVMOVUPS Y%d, (DI)", acc+2*i)
		p("\tVMOVUPS Y%d, 32(DI)", acc+2*i+1)
		if i < rows-1 {
			p("\tADDQ DX, DI")
		}
	}
	p("\tVZEROUPPER")
	p("\tRET")
}

func main() {
	const note = "// Code generated by _gen; DO NOT EDIT.\n\n//go:build !purego\n\n"
	s.WriteString(note + "#include \"textflag.h\"\n")
	g.WriteString(note + "package kernels\n\n")
	for rows := 1; rows <= 8; rows++ {
		block512("q8", rows, false)
		block512("q4", rows, true)
		float512("f32", "VMOVUPS %s, %s", 4, rows)
		float512("f16", "VCVTPH2PS %s, %s", 2, rows)
		float512("bf16", "VPMOVZXWD %s, %s", 2, rows)
	}
	for _, rows := range []int{1, 2} {
		q8AVX2(rows)
		q4AVX2(rows)
	}
	for _, rows := range []int{1, 2, 4} {
		floatAVX2("f32", 4, rows)
		floatAVX2("f16", 2, rows)
		floatAVX2("bf16", 2, rows)
	}
	src, err := format.Source(g.Bytes())
	if err == nil {
		err = os.WriteFile("mul_amd64.go", src, 0o644)
	}
	if err == nil {
		err = os.WriteFile("mul_amd64.s", s.Bytes(), 0o644)
	}
	for _, other := range []string{"./_gen/attend", "./_gen/kquant", "./_gen/vnni", "./_gen/arm64"} {
		if err == nil {
			cmd := exec.Command("go", "run", other)
			cmd.Stderr = os.Stderr
			err = cmd.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
