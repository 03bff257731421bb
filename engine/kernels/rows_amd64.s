//go:build !purego

#include "textflag.h"

// REDUCE(op, z, y, x, t): x's lowest value becomes op over the 16 values of z.
#define REDUCE(OPPS, OPSS) \
	VEXTRACTF64X4 $1, Z0, Y1 \
	OPPS Y1, Y0, Y0 \
	VEXTRACTF128 $1, Y0, X1 \
	OPPS X1, X0, X0 \
	VMOVHLPS X0, X0, X1 \
	OPPS X1, X0, X0 \
	VMOVSHDUP X0, X1 \
	OPSS X1, X0, X0

// func pause()
TEXT ·pauseAsm(SB), NOSPLIT, $0-0
	PAUSE
	RET

// func quantizeRowAVX512(q *byte, x *float32, blocks int)
//
// q is the row's place in the first of its tile blocks.
TEXT ·quantizeRowAVX512(SB), NOSPLIT, $0-24
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ blocks+16(FP), CX
	MOVL $0x7fffffff, AX
	VPBROADCASTD AX, Z10
	MOVL $0x42fe0000, AX // 127
	VMOVD AX, X11
	MOVL $0x3c010204, AX // 1/127
	VMOVD AX, X12
	MOVL $0x0da24260, AX // 1e-30
	VMOVD AX, X13
block:
	VMOVUPS (SI), Z2
	VMOVUPS 64(SI), Z3
	VPANDD Z10, Z2, Z0
	VPANDD Z10, Z3, Z1
	// Without its sign a number orders like an integer, and NaN above all others.
	VPMAXSD Z1, Z0, Z0
	REDUCE(VPMAXSD, VPMAXSD)
	VMULSS X12, X0, X4
	VMOVSS X4, 256(DI)
	// inv = amax > 1e-30 ? 127/amax : 0
	VXORPS X5, X5, X5
	VUCOMISS X13, X0
	JBE zero
	VDIVSS X0, X11, X5
zero:
	VBROADCASTSS X5, Z5
	VMULPS Z5, Z2, Z2
	VMULPS Z5, Z3, Z3
	VCVTPS2DQ Z2, Z2
	VCVTPS2DQ Z3, Z3
	VEXTRACTI64X4 $1, Z2, Y6
	VEXTRACTI64X4 $1, Z3, Y7
	VPADDD Y6, Y2, Y6
	VPADDD Y7, Y3, Y7
	VPMOVSDB Z2, X2
	VPMOVSDB Z3, X3
	VMOVD X2, 0(DI)
	VPEXTRD $1, X2, 32(DI)
	VPEXTRD $2, X2, 64(DI)
	VPEXTRD $3, X2, 96(DI)
	VMOVD X3, 128(DI)
	VPEXTRD $1, X3, 160(DI)
	VPEXTRD $2, X3, 192(DI)
	VPEXTRD $3, X3, 224(DI)
	// Σ q of the first 16, and of the last
	VPHADDD Y7, Y6, Y6
	VEXTRACTI128 $1, Y6, X7
	VPADDD X7, X6, X6
	VPHADDD X6, X6, X6
	VMOVD X6, AX
	VPEXTRD $1, X6, DX
	NEGL AX
	NEGL DX
	MOVW AX, 352(DI)
	MOVW DX, 354(DI)
	ADDL DX, AX
	SHLL $3, AX
	MOVL AX, 320(DI)
	SHLL $4, AX
	MOVL AX, 288(DI)
	ADDQ $128, SI
	ADDQ $384, DI
	DECQ CX
	JNZ block
	VZEROUPPER
	RET

// EXP(x, n, p): x becomes exp(x), for x from -104 to 0 and above to 104.
// x = n·ln 2 + r, |r| ≤ ln 2 / 2; exp(r) by its Taylor polynomial of degree 6,
// whose relative error is below 2e-7 there.
#define EXP(x, n, p) \
	VMULPS Z20, x, n \
	VRNDSCALEPS $0, n, n \
	VFNMADD231PS Z21, n, x \
	VFNMADD231PS Z22, n, x \
	VMOVAPS Z23, p \
	VFMADD213PS Z24, x, p \
	VFMADD213PS Z25, x, p \
	VFMADD213PS Z26, x, p \
	VFMADD213PS Z27, x, p \
	VFMADD213PS Z28, x, p \
	VFMADD213PS Z28, x, p \
	VSCALEFPS n, p, x

#define BROADCAST(bits, reg) \
	MOVL bits, AX \
	VPBROADCASTD AX, reg

#define EXPCONSTANTS \
	BROADCAST($0x3fb8aa3b, Z20) \ // log2 e
	BROADCAST($0x3f317200, Z21) \ // ln 2, high bits
	BROADCAST($0x35bfbe8e, Z22) \ // ln 2, the rest
	BROADCAST($0x3ab60b61, Z23) \ // 1/720
	BROADCAST($0x3c088889, Z24) \ // 1/120
	BROADCAST($0x3d2aaaab, Z25) \ // 1/24
	BROADCAST($0x3e2aaaab, Z26) \ // 1/6
	BROADCAST($0x3f000000, Z27) \ // 1/2
	BROADCAST($0x3f800000, Z28)   // 1

// func expSumAVX512(x *float32, n int, top float32) float32
//
// x[j] = exp(x[j]-top); lane l of the sum adds x[l], x[l+16], …
TEXT ·expSumAVX512(SB), NOSPLIT, $0-28
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VBROADCASTSS top+16(FP), Z10
	EXPCONSTANTS
	BROADCAST($0xc2d00000, Z11) // -104, below which exp is 0
	VXORPS Z0, Z0, Z0
	CMPQ CX, $16
	JLT tail
loop:
	VMOVUPS (SI), Z2
	VSUBPS Z10, Z2, Z2
	VMAXPS Z2, Z11, Z2 // a NaN stays
	EXP(Z2, Z3, Z4)
	VMOVUPS Z2, (SI)
	VADDPS Z2, Z0, Z0
	ADDQ $64, SI
	SUBQ $16, CX
	CMPQ CX, $16
	JGE loop
tail:
	TESTQ CX, CX
	JZ done
	MOVL $1, AX
	SHLL CX, AX
	DECL AX
	KMOVW AX, K1
	VMOVUPS.Z (SI), K1, Z2
	VSUBPS Z10, Z2, Z2
	VMAXPS Z2, Z11, Z2 // a NaN stays
	EXP(Z2, Z3, Z4)
	VMOVUPS Z2, K1, (SI)
	VADDPS Z2, Z0, K1, Z0
done:
	REDUCE(VADDPS, VADDSS)
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func swiGLUAVX512(dst, gate, up *float32, n int)
//
// dst = gate/(1+exp(-gate))·up; n is a multiple of 16.
TEXT ·swiGLUAVX512(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), BX
	MOVQ n+24(FP), CX
	EXPCONSTANTS
	BROADCAST($0xc2d00000, Z11) // -104: exp(-x) is 0
	BROADCAST($0x42d00000, Z12) // 104: exp(-x) is infinite
loop:
	VMOVUPS (SI), Z1
	VXORPS Z2, Z2, Z2
	VSUBPS Z1, Z2, Z2
	VMAXPS Z2, Z11, Z2
	VMINPS Z2, Z12, Z2
	EXP(Z2, Z3, Z4)
	VADDPS Z28, Z2, Z2
	VDIVPS Z2, Z1, Z1
	VMULPS (BX), Z1, Z1
	VMOVUPS Z1, (DI)
	ADDQ $64, SI
	ADDQ $64, BX
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func squaresAVX512(x *float32, n int) float32
//
// Σ x², n a multiple of 16.
TEXT ·squaresAVX512(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VXORPS Z0, Z0, Z0
loop:
	VMOVUPS (SI), Z1
	VFMADD231PS Z1, Z1, Z0
	ADDQ $64, SI
	SUBQ $16, CX
	JG loop
	REDUCE(VADDPS, VADDSS)
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func scaleMulAVX512(dst, x, w *float32, s float32, n int)
//
// dst = x·s·w, n a multiple of 16.
TEXT ·scaleMulAVX512(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ w+16(FP), BX
	VBROADCASTSS s+24(FP), Z0
	MOVQ n+32(FP), CX
loop:
	VMULPS (SI), Z0, Z1
	VMULPS (BX), Z1, Z1
	VMOVUPS Z1, (DI)
	ADDQ $64, SI
	ADDQ $64, BX
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func addAVX512(dst, x *float32, n int)
//
// dst += x, n a multiple of 16.
TEXT ·addAVX512(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
loop:
	VMOVUPS (DI), Z0
	VADDPS (SI), Z0, Z0
	VMOVUPS Z0, (DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func scaleAVX512(x *float32, s float32, n int)
//
// x *= s, n a multiple of 16.
TEXT ·scaleAVX512(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), DI
	VBROADCASTSS s+8(FP), Z0
	MOVQ n+16(FP), CX
loop:
	VMULPS (DI), Z0, Z1
	VMOVUPS Z1, (DI)
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func maxAVX512(x *float32, n int) float32
//
// n is a multiple of 16, at least 16. NaN is passed over.
TEXT ·maxAVX512(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	MOVL $0xff800000, AX // -∞
	VPBROADCASTD AX, Z0
loop:
	VMOVUPS (SI), Z1
	VMAXPS Z0, Z1, Z0
	ADDQ $64, SI
	SUBQ $16, CX
	JG loop
	REDUCE(VMAXPS, VMAXSS)
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func toF16AVX512(dst *uint16, src *float32, n int)
//
// n is a multiple of 16; rounds to nearest even.
TEXT ·toF16AVX512(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
loop:
	VMOVUPS (SI), Z0
	VCVTPS2PH $0, Z0, (DI)
	ADDQ $64, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET
