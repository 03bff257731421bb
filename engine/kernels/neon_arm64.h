// Instructions that Go's assembler lacks, as words. Operands are register
// numbers in Go's order: the destination last. Sections are of the Arm
// Architecture Reference Manual (DDI 0487), chapter C7.2.

// Element i of four 32-bit elements, or of four groups of 4 bytes.
#define ELEM(i) ((((i)&1)<<21) | (((i)>>1)<<11))

// SDOT Vd.4S, Vn.16B, Vm.16B — SDOT (vector), needs FEAT_DotProd.
#define SDOT(m, n, d) WORD $(0x4E809400 | ((m)<<16) | ((n)<<5) | (d))
// SDOT Vd.4S, Vn.16B, Vm.4B[i] — SDOT (by element), needs FEAT_DotProd.
#define SDOTE(i, m, n, d) WORD $(0x4F80E000 | ELEM(i) | ((m)<<16) | ((n)<<5) | (d))
// SMMLA Vd.4S, Vn.16B, Vm.16B — SMMLA (vector), needs FEAT_I8MM.
#define SMMLA(m, n, d) WORD $(0x4E80A400 | ((m)<<16) | ((n)<<5) | (d))

// SMULL Vd.8H, Vn.8B, Vm.8B — SMULL, SMULL2 (vector); the second takes the high halves.
#define SMULL(m, n, d) WORD $(0x0E20C000 | ((m)<<16) | ((n)<<5) | (d))
#define SMULL2(m, n, d) WORD $(0x4E20C000 | ((m)<<16) | ((n)<<5) | (d))
// SMLAL Vd.8H, Vn.8B, Vm.8B — SMLAL, SMLAL2 (vector).
#define SMLAL(m, n, d) WORD $(0x0E208000 | ((m)<<16) | ((n)<<5) | (d))
#define SMLAL2(m, n, d) WORD $(0x4E208000 | ((m)<<16) | ((n)<<5) | (d))
// SADALP Vd.4S, Vn.8H — SADALP: adds pairs of int16 to int32.
#define SADALP(n, d) WORD $(0x4E606800 | ((n)<<5) | (d))
// SSHR Vd.4S, Vn.4S, #1 — SSHR.
#define SSHR1(n, d) WORD $(0x4F3F0400 | ((n)<<5) | (d))
// SQXTN Vd.4H, Vn.4S and SQXTN2 Vd.8H, Vn.4S — SQXTN, SQXTN2.
#define SQXTNH(n, d) WORD $(0x0E614800 | ((n)<<5) | (d))
#define SQXTNH2(n, d) WORD $(0x4E614800 | ((n)<<5) | (d))
// SQXTN Vd.8B, Vn.8H and SQXTN2 Vd.16B, Vn.8H — SQXTN, SQXTN2.
#define SQXTNB(n, d) WORD $(0x0E214800 | ((n)<<5) | (d))
#define SQXTNB2(n, d) WORD $(0x4E214800 | ((n)<<5) | (d))

// SCVTF Vd.4S, Vn.4S — SCVTF (vector, integer).
#define SCVTF(n, d) WORD $(0x4E21D800 | ((n)<<5) | (d))
// FCVTNS Vd.4S, Vn.4S — FCVTNS (vector): to int32, nearest, ties to even.
#define FCVTNS(n, d) WORD $(0x4E21A800 | ((n)<<5) | (d))
// FCVTL Vd.4S, Vn.4H and FCVTL2 Vd.4S, Vn.8H — FCVTL, FCVTL2: binary16 to float32.
#define FCVTL(n, d) WORD $(0x0E217800 | ((n)<<5) | (d))
#define FCVTL2(n, d) WORD $(0x4E217800 | ((n)<<5) | (d))
// FCVTN Vd.4H, Vn.4S and FCVTN2 Vd.8H, Vn.4S — FCVTN, FCVTN2: float32 to binary16.
#define FCVTN(n, d) WORD $(0x0E216800 | ((n)<<5) | (d))
#define FCVTN2(n, d) WORD $(0x4E216800 | ((n)<<5) | (d))

// FADD Vd.4S, Vn.4S, Vm.4S — FADD (vector).
#define FADD(m, n, d) WORD $(0x4E20D400 | ((m)<<16) | ((n)<<5) | (d))
// FSUB Vd.4S, Vn.4S, Vm.4S — FSUB (vector): n - m.
#define FSUB(m, n, d) WORD $(0x4EA0D400 | ((m)<<16) | ((n)<<5) | (d))
// FMUL Vd.4S, Vn.4S, Vm.4S — FMUL (vector).
#define FMUL(m, n, d) WORD $(0x6E20DC00 | ((m)<<16) | ((n)<<5) | (d))
// FMUL Vd.4S, Vn.4S, Vm.S[i] — FMUL (by element).
#define FMULE(i, m, n, d) WORD $(0x4F809000 | ELEM(i) | ((m)<<16) | ((n)<<5) | (d))
// FMLA Vd.4S, Vn.4S, Vm.S[i] — FMLA (by element).
#define FMLAE(i, m, n, d) WORD $(0x4F801000 | ELEM(i) | ((m)<<16) | ((n)<<5) | (d))
// FDIV Vd.4S, Vn.4S, Vm.4S — FDIV (vector): n / m.
#define FDIV(m, n, d) WORD $(0x6E20FC00 | ((m)<<16) | ((n)<<5) | (d))
// FABS Vd.4S, Vn.4S — FABS (vector).
#define FABS(n, d) WORD $(0x4EA0F800 | ((n)<<5) | (d))
// FMAX Vd.4S, Vn.4S, Vm.4S — FMAX (vector).
#define FMAX(m, n, d) WORD $(0x4E20F400 | ((m)<<16) | ((n)<<5) | (d))
// FMIN Vd.4S, Vn.4S, Vm.4S — FMIN (vector).
#define FMIN(m, n, d) WORD $(0x4EA0F400 | ((m)<<16) | ((n)<<5) | (d))
// FMAXV Sd, Vn.4S — FMAXV: the largest element.
#define FMAXV(n, d) WORD $(0x6E30F800 | ((n)<<5) | (d))
// FADDP Vd.4S, Vn.4S, Vm.4S — FADDP (vector): sums of neighbours.
#define FADDP(m, n, d) WORD $(0x6E20D400 | ((m)<<16) | ((n)<<5) | (d))
// FRINTN Vd.4S, Vn.4S — FRINTN (vector): to whole numbers, nearest, ties to even.
#define FRINTN(n, d) WORD $(0x4E218800 | ((n)<<5) | (d))
