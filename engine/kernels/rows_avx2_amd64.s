//go:build !purego

#include "textflag.h"

// What rows_amd64.s does with 512 bits, to the bit: 16 values in two registers.

// REDUCE: X0's lowest value becomes op over the 16 values of Y0 and Y1.
#define REDUCE(OPPS, OPSS) \
	OPPS Y1, Y0, Y0 \
	VEXTRACTF128 $1, Y0, X1 \
	OPPS X1, X0, X0 \
	VMOVHLPS X0, X0, X1 \
	OPPS X1, X0, X0 \
	VMOVSHDUP X0, X1 \
	OPSS X1, X0, X0

#define BROADCAST(bits, x, y) \
	MOVL bits, AX \
	VMOVD AX, x \
	VPBROADCASTD x, y

// func quantizeRowAVX2(q *byte, x *float32, blocks int)
//
// q is the row's place in the first of its tile blocks. Works like
// quantizeRowGeneric.
TEXT ·quantizeRowAVX2(SB), NOSPLIT, $0-24
	MOVQ q+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ blocks+16(FP), CX
	BROADCAST($0x7fffffff, X10, Y10)
	MOVL $0x42fe0000, AX // 127
	VMOVD AX, X11
	MOVL $0x3c010204, AX // 1/127
	VMOVD AX, X12
	MOVL $0x0da24260, AX // 1e-30
	VMOVD AX, X13
block:
	VMOVUPS (SI), Y2
	VMOVUPS 32(SI), Y3
	VMOVUPS 64(SI), Y4
	VMOVUPS 96(SI), Y5
	VPAND Y10, Y2, Y0
	VPAND Y10, Y3, Y1
	VPAND Y10, Y4, Y6
	VPAND Y10, Y5, Y7
	// Without its sign a number orders like an integer, and NaN above all others.
	VPMAXSD Y6, Y0, Y0
	VPMAXSD Y7, Y1, Y1
	REDUCE(VPMAXSD, VPMAXSD)
	VMULSS X12, X0, X8
	VMOVSS X8, 256(DI)
	// inv = amax > 1e-30 ? 127/amax : 0
	VXORPS X9, X9, X9
	VUCOMISS X13, X0
	JBE zero
	VDIVSS X0, X11, X9
zero:
	VBROADCASTSS X9, Y9
	VMULPS Y9, Y2, Y2
	VMULPS Y9, Y3, Y3
	VMULPS Y9, Y4, Y4
	VMULPS Y9, Y5, Y5
	VCVTPS2DQ Y2, Y2
	VCVTPS2DQ Y3, Y3
	VCVTPS2DQ Y4, Y4
	VCVTPS2DQ Y5, Y5
	VPADDD Y3, Y2, Y6
	VPADDD Y5, Y4, Y7
	// Packing stays within 128 bits: the even groups of 4 columns, then the odd ones.
	VPACKSSDW Y3, Y2, Y2
	VPACKSSDW Y5, Y4, Y4
	VPACKSSWB Y4, Y2, Y2
	VEXTRACTI128 $1, Y2, X3
	VMOVD X2, 0(DI)
	VMOVD X3, 32(DI)
	VPEXTRD $1, X2, 64(DI)
	VPEXTRD $1, X3, 96(DI)
	VPEXTRD $2, X2, 128(DI)
	VPEXTRD $2, X3, 160(DI)
	VPEXTRD $3, X2, 192(DI)
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

#define EXPCONSTANTS \
	BROADCAST($0x3fb8aa3b, X7, Y7) \   // log2 e
	BROADCAST($0x3f317200, X8, Y8) \   // ln 2, high bits
	BROADCAST($0x35bfbe8e, X9, Y9) \   // ln 2, the rest
	BROADCAST($0x3ab60b61, X10, Y10) \ // 1/720
	BROADCAST($0x3c088889, X11, Y11) \ // 1/120
	BROADCAST($0x3d2aaaab, X12, Y12) \ // 1/24
	BROADCAST($0x3e2aaaab, X13, Y13) \ // 1/6
	BROADCAST($0x3f000000, X14, Y14) \ // 1/2
	BROADCAST($0x3f800000, X15, Y15)   // 1, and the exponent of 2^0

// EXP: x becomes exp(x), for x from -104 to 104; as in rows_amd64.s, but with 2^n
// in two factors, either of them normal, so that small results round once. m is
// lost with n and p.
#define EXP(x, n, p, m) \
	VMULPS Y7, x, n \
	VROUNDPS $0, n, n \
	VFNMADD231PS Y8, n, x \
	VFNMADD231PS Y9, n, x \
	VMOVAPS Y10, p \
	VFMADD213PS Y11, x, p \
	VFMADD213PS Y12, x, p \
	VFMADD213PS Y13, x, p \
	VFMADD213PS Y14, x, p \
	VFMADD213PS Y15, x, p \
	VFMADD213PS Y15, x, p \
	VCVTPS2DQ n, n \
	VPSRAD $1, n, m \
	VPSUBD m, n, n \
	VPSLLD $23, m, m \
	VPSLLD $23, n, n \
	VPADDD Y15, m, m \
	VPADDD Y15, n, n \
	VMULPS m, p, p \
	VMULPS n, p, x

DATA least<>+0(SB)/4, $0xc2d00000 // -104, below which exp is 0
DATA least<>+4(SB)/4, $0x42d00000 // 104, above which it is infinite
GLOBL least<>(SB), RODATA|NOPTR, $8

DATA lanes<>+0(SB)/8, $0x0000000100000000
DATA lanes<>+8(SB)/8, $0x0000000300000002
DATA lanes<>+16(SB)/8, $0x0000000500000004
DATA lanes<>+24(SB)/8, $0x0000000700000006
GLOBL lanes<>(SB), RODATA|NOPTR, $32

// EXPSUM adds exp(x-top) of 8 values to sum; top is at top+16(FP).
#define EXPSUM(x, sum) \
	VBROADCASTSS top+16(FP), Y3 \
	VSUBPS Y3, x, x \
	VBROADCASTSS least<>+0(SB), Y3 \
	VMAXPS x, Y3, x \ // a NaN stays
	EXP(x, Y3, Y4, Y5)

// PART: the same for the first CX of 8 values, CX < 8 or more.
#define PART(at, sum) \
	VMOVD CX, X6 \
	VPBROADCASTD X6, Y6 \
	VPCMPGTD lanes<>+0(SB), Y6, Y6 \
	VMASKMOVPS at(SI), Y6, Y2 \
	EXPSUM(Y2, sum) \
	VMASKMOVPS Y2, Y6, at(SI) \
	VANDPS Y6, Y2, Y2 \
	VADDPS Y2, sum, sum

// func expSumAVX2(x *float32, n int, top float32) float32
//
// x[j] = exp(x[j]-top); lane l of the sum adds x[l], x[l+16], …
TEXT ·expSumAVX2(SB), NOSPLIT, $0-28
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	EXPCONSTANTS
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	CMPQ CX, $16
	JLT tail
loop:
	VMOVUPS (SI), Y2
	EXPSUM(Y2, Y0)
	VMOVUPS Y2, (SI)
	VADDPS Y2, Y0, Y0
	VMOVUPS 32(SI), Y2
	EXPSUM(Y2, Y1)
	VMOVUPS Y2, 32(SI)
	VADDPS Y2, Y1, Y1
	ADDQ $64, SI
	SUBQ $16, CX
	CMPQ CX, $16
	JGE loop
tail:
	TESTQ CX, CX
	JZ done
	PART(0, Y0)
	SUBQ $8, CX
	JLE done
	PART(32, Y1)
done:
	REDUCE(VADDPS, VADDSS)
	VMOVSS X0, ret+24(FP)
	VZEROUPPER
	RET

// func swiGLUAVX2(dst, gate, up *float32, n int)
//
// dst = gate/(1+exp(-gate))·up; n is a multiple of 16.
TEXT ·swiGLUAVX2(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ gate+8(FP), SI
	MOVQ up+16(FP), BX
	MOVQ n+24(FP), CX
	EXPCONSTANTS
	VXORPS Y6, Y6, Y6
loop:
	VMOVUPS (SI), Y1
	VSUBPS Y1, Y6, Y2
	VBROADCASTSS least<>+0(SB), Y3
	VMAXPS Y2, Y3, Y2
	VBROADCASTSS least<>+4(SB), Y3
	VMINPS Y2, Y3, Y2
	EXP(Y2, Y3, Y4, Y5)
	VADDPS Y15, Y2, Y2
	VDIVPS Y2, Y1, Y1
	VMULPS (BX), Y1, Y1
	VMOVUPS Y1, (DI)
	ADDQ $32, SI
	ADDQ $32, BX
	ADDQ $32, DI
	SUBQ $8, CX
	JG loop
	VZEROUPPER
	RET

// func squaresAVX2(x *float32, n int) float32
//
// Σ x², n a multiple of 16.
TEXT ·squaresAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
loop:
	VMOVUPS (SI), Y2
	VMOVUPS 32(SI), Y3
	VFMADD231PS Y2, Y2, Y0
	VFMADD231PS Y3, Y3, Y1
	ADDQ $64, SI
	SUBQ $16, CX
	JG loop
	REDUCE(VADDPS, VADDSS)
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func scaleMulAVX2(dst, x, w *float32, s float32, n int)
//
// dst = x·s·w, n a multiple of 16.
TEXT ·scaleMulAVX2(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ w+16(FP), BX
	VBROADCASTSS s+24(FP), Y0
	MOVQ n+32(FP), CX
loop:
	VMULPS (SI), Y0, Y1
	VMULPS 32(SI), Y0, Y2
	VMULPS (BX), Y1, Y1
	VMULPS 32(BX), Y2, Y2
	VMOVUPS Y1, (DI)
	VMOVUPS Y2, 32(DI)
	ADDQ $64, SI
	ADDQ $64, BX
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func addAVX2(dst, x *float32, n int)
//
// dst += x, n a multiple of 16.
TEXT ·addAVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ x+8(FP), SI
	MOVQ n+16(FP), CX
loop:
	VMOVUPS (DI), Y0
	VMOVUPS 32(DI), Y1
	VADDPS (SI), Y0, Y0
	VADDPS 32(SI), Y1, Y1
	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	ADDQ $64, SI
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func scaleAVX2(x *float32, s float32, n int)
//
// x *= s, n a multiple of 16.
TEXT ·scaleAVX2(SB), NOSPLIT, $0-24
	MOVQ x+0(FP), DI
	VBROADCASTSS s+8(FP), Y0
	MOVQ n+16(FP), CX
loop:
	VMULPS (DI), Y0, Y1
	VMULPS 32(DI), Y0, Y2
	VMOVUPS Y1, (DI)
	VMOVUPS Y2, 32(DI)
	ADDQ $64, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET

// func maxAVX2(x *float32, n int) float32
//
// n is a multiple of 16, at least 16. NaN is passed over.
TEXT ·maxAVX2(SB), NOSPLIT, $0-20
	MOVQ x+0(FP), SI
	MOVQ n+8(FP), CX
	BROADCAST($0xff800000, X0, Y0) // -∞
	VMOVAPS Y0, Y1
loop:
	VMOVUPS (SI), Y2
	VMOVUPS 32(SI), Y3
	VMAXPS Y0, Y2, Y0
	VMAXPS Y1, Y3, Y1
	ADDQ $64, SI
	SUBQ $16, CX
	JG loop
	REDUCE(VMAXPS, VMAXSS)
	VMOVSS X0, ret+16(FP)
	VZEROUPPER
	RET

// func toF16AVX2(dst *uint16, src *float32, n int)
//
// n is a multiple of 16; rounds to nearest even.
TEXT ·toF16AVX2(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
loop:
	VMOVUPS (SI), Y0
	VMOVUPS 32(SI), Y1
	VCVTPS2PH $0, Y0, (DI)
	VCVTPS2PH $0, Y1, 16(DI)
	ADDQ $64, SI
	ADDQ $32, DI
	SUBQ $16, CX
	JG loop
	VZEROUPPER
	RET
