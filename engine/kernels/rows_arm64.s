//go:build !purego

#include "textflag.h"
#include "neon_arm64.h"

// func quantizeRowNEON(q *byte, x *float32, blocks int)
//
// q is the row's place in the first of its tile blocks. Works like
// quantizeRowGeneric.
TEXT ·quantizeRowNEON(SB), NOSPLIT, $0-24
	MOVD q+0(FP), R0
	MOVD x+8(FP), R1
	MOVD blocks+16(FP), R2
	FMOVS $127.0, F29
	MOVD $0x3c010204, R3 // 1/127
	FMOVS R3, F30
	MOVD $0x0da24260, R3 // 1e-30
	FMOVS R3, F31
block:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	// amax = max |x|
	FABS(0, 16)
	FABS(1, 17)
	FABS(2, 18)
	FABS(3, 19)
	FABS(4, 20)
	FABS(5, 21)
	FABS(6, 22)
	FABS(7, 23)
	FMAX(17, 16, 16)
	FMAX(19, 18, 18)
	FMAX(21, 20, 20)
	FMAX(23, 22, 22)
	FMAX(18, 16, 16)
	FMAX(22, 20, 20)
	FMAX(20, 16, 16)
	FMAXV(16, 16)
	FMULS F30, F16, F17
	FMOVS F17, 256(R0)
	// inv = amax > 1e-30 ? 127/amax : 0
	VEOR V18.B16, V18.B16, V18.B16
	FCMPS F31, F16
	BLE zero
	FDIVS F16, F29, F18
zero:
	VDUP V18.S[0], V18.S4
	FMUL(18, 0, 0)
	FMUL(18, 1, 1)
	FMUL(18, 2, 2)
	FMUL(18, 3, 3)
	FMUL(18, 4, 4)
	FMUL(18, 5, 5)
	FMUL(18, 6, 6)
	FMUL(18, 7, 7)
	FCVTNS(0, 0)
	FCVTNS(1, 1)
	FCVTNS(2, 2)
	FCVTNS(3, 3)
	FCVTNS(4, 4)
	FCVTNS(5, 5)
	FCVTNS(6, 6)
	FCVTNS(7, 7)
	// Σ q
	VADD V0.S4, V1.S4, V16.S4
	VADD V2.S4, V3.S4, V17.S4
	VADD V4.S4, V5.S4, V18.S4
	VADD V6.S4, V7.S4, V19.S4
	VADD V16.S4, V17.S4, V16.S4
	VADD V18.S4, V19.S4, V18.S4
	VADDV V16.S4, V26
	VADDV V18.S4, V27
	VADD V16.S4, V18.S4, V16.S4
	VADDV V16.S4, V16
	// 4 bytes for each group of columns
	SQXTNH(0, 20)
	SQXTNH2(1, 20)
	SQXTNH(2, 21)
	SQXTNH2(3, 21)
	SQXTNH(4, 22)
	SQXTNH2(5, 22)
	SQXTNH(6, 23)
	SQXTNH2(7, 23)
	SQXTNB(20, 24)
	SQXTNB2(21, 24)
	SQXTNB(22, 25)
	SQXTNB2(23, 25)
	VMOV V24.S[0], R4
	VMOV V24.S[1], R5
	VMOV V24.S[2], R6
	VMOV V24.S[3], R7
	MOVW R4, 0(R0)
	MOVW R5, 32(R0)
	MOVW R6, 64(R0)
	MOVW R7, 96(R0)
	VMOV V25.S[0], R4
	VMOV V25.S[1], R5
	VMOV V25.S[2], R6
	VMOV V25.S[3], R7
	MOVW R4, 128(R0)
	MOVW R5, 160(R0)
	MOVW R6, 192(R0)
	MOVW R7, 224(R0)
	VMOV V26.S[0], R4
	VMOV V27.S[0], R5
	NEGW R4, R4
	NEGW R5, R5
	MOVH R4, 352(R0)
	MOVH R5, 354(R0)
	VMOV V16.S[0], R4
	NEGW R4, R4
	LSLW $3, R4, R4
	MOVW R4, 320(R0)
	LSLW $4, R4, R4
	MOVW R4, 288(R0)
	ADD $384, R0
	SUBS $1, R2, R2
	BNE block
	RET

// func pauseAsm()
TEXT ·pauseAsm(SB), NOSPLIT, $0-0
	YIELD
	RET

#define BROADCAST(bits, reg) \
	MOVD $bits, R8 \
	VDUP R8, reg

#define EXPCONSTANTS \
	BROADCAST(0x3fb8aa3b, V16.S4) \ // log2 e
	BROADCAST(0x3f317200, V17.S4) \ // ln 2, high bits
	BROADCAST(0x35bfbe8e, V18.S4) \ // ln 2, the rest
	BROADCAST(0x3ab60b61, V19.S4) \ // 1/720
	BROADCAST(0x3c088889, V20.S4) \ // 1/120
	BROADCAST(0x3d2aaaab, V21.S4) \ // 1/24
	BROADCAST(0x3e2aaaab, V22.S4) \ // 1/6
	BROADCAST(0x3f000000, V23.S4) \ // 1/2
	BROADCAST(0x3f800000, V24.S4)   // 1, and the exponent of 2^0

// EXP: V0 becomes exp(V0), for values from -104 to 104; V26 … V29 are lost.
// x = n·ln 2 + r, |r| ≤ ln 2 / 2; exp(r) by its Taylor polynomial of degree 6,
// whose relative error is below 2e-7 there. 2^n in two factors, either of them
// normal, so that small results round once to a denormal or to zero.
#define EXP \
	FMUL(16, 0, 26) \
	FRINTN(26, 26) \
	VFMLS V17.S4, V26.S4, V0.S4 \
	VFMLS V18.S4, V26.S4, V0.S4 \
	VMOV V20.B16, V28.B16 \
	VFMLA V19.S4, V0.S4, V28.S4 \
	VMOV V21.B16, V27.B16 \
	VFMLA V28.S4, V0.S4, V27.S4 \
	VMOV V22.B16, V28.B16 \
	VFMLA V27.S4, V0.S4, V28.S4 \
	VMOV V23.B16, V27.B16 \
	VFMLA V28.S4, V0.S4, V27.S4 \
	VMOV V24.B16, V28.B16 \
	VFMLA V27.S4, V0.S4, V28.S4 \
	VMOV V24.B16, V27.B16 \
	VFMLA V28.S4, V0.S4, V27.S4 \
	FCVTNS(26, 26) \
	SSHR1(26, 29) \
	VSUB V29.S4, V26.S4, V26.S4 \
	VSHL $23, V29.S4, V29.S4 \
	VSHL $23, V26.S4, V26.S4 \
	VADD V24.S4, V29.S4, V29.S4 \
	VADD V24.S4, V26.S4, V26.S4 \
	FMUL(29, 27, 27) \
	FMUL(26, 27, 0)

// func expSum16(x *float32, n int, top float32) float32
//
// x[j] = exp(x[j]-top), n a multiple of 16; lane l of the sum adds x[l], x[l+4], …
TEXT ·expSum16(SB), NOSPLIT, $0-28
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	FMOVS top+16(FP), F10
	VDUP V10.S[0], V10.S4
	EXPCONSTANTS
	BROADCAST(0xc2d00000, V11.S4) // -104, below which exp is 0
	VEOR V30.B16, V30.B16, V30.B16
loop:
	VLD1 (R0), [V0.S4]
	FSUB(10, 0, 0)
	FMAX(11, 0, 0)
	EXP
	VST1.P [V0.S4], 16(R0)
	FADD(0, 30, 30)
	SUBS $4, R1, R1
	BNE loop
	FADDP(30, 30, 30)
	FADDP(30, 30, 30)
	FMOVS F30, ret+24(FP)
	RET

// func swiGLUWide(dst, gate, up *float32, n int)
//
// dst = gate/(1+exp(-gate))·up; n is a multiple of 16.
TEXT ·swiGLUWide(SB), NOSPLIT, $0-32
	MOVD dst+0(FP), R0
	MOVD gate+8(FP), R1
	MOVD up+16(FP), R2
	MOVD n+24(FP), R3
	EXPCONSTANTS
	BROADCAST(0xc2d00000, V11.S4) // -104: exp(-x) is 0
	BROADCAST(0x42d00000, V12.S4) // 104: exp(-x) is infinite
	VEOR V13.B16, V13.B16, V13.B16
loop:
	VLD1.P 16(R1), [V1.S4]
	VLD1.P 16(R2), [V2.S4]
	FSUB(1, 13, 0)
	FMAX(11, 0, 0)
	FMIN(12, 0, 0)
	EXP
	FADD(24, 0, 0)
	FDIV(0, 1, 1)
	FMUL(2, 1, 1)
	VST1.P [V1.S4], 16(R0)
	SUBS $4, R3, R3
	BNE loop
	RET

// func squaresWide(x *float32, n int) float32
//
// Σ x², n a multiple of 16.
TEXT ·squaresWide(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	VEOR V4.B16, V4.B16, V4.B16
	VEOR V5.B16, V5.B16, V5.B16
	VEOR V6.B16, V6.B16, V6.B16
	VEOR V7.B16, V7.B16, V7.B16
loop:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VFMLA V0.S4, V0.S4, V4.S4
	VFMLA V1.S4, V1.S4, V5.S4
	VFMLA V2.S4, V2.S4, V6.S4
	VFMLA V3.S4, V3.S4, V7.S4
	SUBS $16, R1, R1
	BNE loop
	FADD(5, 4, 4)
	FADD(7, 6, 6)
	FADD(6, 4, 4)
	FADDP(4, 4, 4)
	FADDP(4, 4, 4)
	FMOVS F4, ret+16(FP)
	RET

// func scaleMulWide(dst, x, w *float32, s float32, n int)
//
// dst = x·s·w, n a multiple of 16.
TEXT ·scaleMulWide(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD w+16(FP), R2
	FMOVS s+24(FP), F16
	MOVD n+32(FP), R3
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R2), [V4.S4, V5.S4, V6.S4, V7.S4]
	FMULE(0, 16, 0, 0)
	FMULE(0, 16, 1, 1)
	FMULE(0, 16, 2, 2)
	FMULE(0, 16, 3, 3)
	FMUL(4, 0, 0)
	FMUL(5, 1, 1)
	FMUL(6, 2, 2)
	FMUL(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS $16, R3, R3
	BNE loop
	RET

// func addWide(dst, x *float32, n int)
//
// dst += x, n a multiple of 16.
TEXT ·addWide(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD x+8(FP), R1
	MOVD n+16(FP), R3
loop:
	VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]
	FADD(4, 0, 0)
	FADD(5, 1, 1)
	FADD(6, 2, 2)
	FADD(7, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS $16, R3, R3
	BNE loop
	RET

// func scaleWide(x *float32, s float32, n int)
//
// x *= s, n a multiple of 16.
TEXT ·scaleWide(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	FMOVS s+8(FP), F16
	MOVD n+16(FP), R3
loop:
	VLD1 (R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMULE(0, 16, 0, 0)
	FMULE(0, 16, 1, 1)
	FMULE(0, 16, 2, 2)
	FMULE(0, 16, 3, 3)
	VST1.P [V0.S4, V1.S4, V2.S4, V3.S4], 64(R0)
	SUBS $16, R3, R3
	BNE loop
	RET

// func maxWide(x *float32, n int) float32
//
// n is a multiple of 16, at least 16.
TEXT ·maxWide(SB), NOSPLIT, $0-20
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	VLD1 (R0), [V4.S4, V5.S4, V6.S4, V7.S4]
loop:
	VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]
	FMAX(0, 4, 4)
	FMAX(1, 5, 5)
	FMAX(2, 6, 6)
	FMAX(3, 7, 7)
	SUBS $16, R1, R1
	BNE loop
	FMAX(5, 4, 4)
	FMAX(7, 6, 6)
	FMAX(6, 4, 4)
	FMAXV(4, 4)
	FMOVS F4, ret+16(FP)
	RET

// func toF16Wide(dst *uint16, src *float32, n int)
//
// n is a multiple of 16; rounds to nearest even, which FPCR says from the start
// of a thread on.
TEXT ·toF16Wide(SB), NOSPLIT, $0-24
	MOVD dst+0(FP), R0
	MOVD src+8(FP), R1
	MOVD n+16(FP), R2
loop:
	VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]
	FCVTN(0, 4)
	FCVTN2(1, 4)
	FCVTN(2, 5)
	FCVTN2(3, 5)
	VST1.P [V4.H8, V5.H8], 32(R0)
	SUBS $16, R2, R2
	BNE loop
	RET
